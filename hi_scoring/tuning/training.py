"""Training of an adapter by the Trainer of transformers. Owns its settings, and how an interrupted training goes on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from datasetkit.errors import ModelError
from datasetkit.whole_files import replace_file
from hi_scoring.dialogue import Dialogue
from hi_scoring.examples import Examples
from hi_scoring.tuning.collator import Collator, TuningSet
from hi_scoring.tuning.options import TrainingOptions

HISTORY_NAME = "training.jsonl"
_CHECKPOINTS_NAME = "checkpoints"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_LOGS = 100
# What a log says of the machine rather than of the training.
_MEASURED = re.compile(r"(train|eval)_(runtime|samples_per_second|steps_per_second)|total_flos")


def train(
    adapted: Any,
    dialogue: Dialogue,
    examples: Examples,
    validation: Examples | None,
    options: TrainingOptions,
    seed: int,
    folder: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Train the adapter of a model in place; go on from the last checkpoint in the folder.

    Equal arguments give equal weights, whether or not training was interrupted, on one device with one build of torch.
    Under torchrun or ``accelerate launch``, processes share each batch's gradients.

    Args:
        adapted: a peft model.
        dialogue: with it.
        examples: to learn from.
        validation: examples whose loss decides when training ends; needed for ``patience`` alone.
        options: how.
        seed: of the order of examples and of dropout.
        folder: for checkpoints and the history: one line of JSON a log, with step, loss and learning rate.
        on_progress: told how many steps are done.

    Raises:
        ModelError: the loss is not finite.

    """
    checkpoints = folder / _CHECKPOINTS_NAME
    trainer = Trainer(
        model=adapted,
        args=_arguments(adapted.device, options, seed, checkpoints),
        data_collator=Collator(dialogue),
        train_dataset=TuningSet(examples),
        eval_dataset=None if options.patience is None or validation is None else TuningSet(validation),
        callbacks=[_Told(folder / HISTORY_NAME, on_progress)],
    )
    trainer.remove_callback(PrinterCallback)
    if options.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(options.patience))
    last = _last_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    adapted.eval()


def remove_checkpoints(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    shutil.rmtree(folder / _CHECKPOINTS_NAME, ignore_errors=True)


def _arguments(device: torch.device, options: TrainingOptions, seed: int, checkpoints: Path) -> TrainingArguments:
    stops_early = options.patience is not None
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=options.batch,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=round(options.warmup * options.steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        bf16=options.mixed_precision == "bf16",
        fp16=options.mixed_precision == "fp16",
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.gradient_checkpointing else None,
        seed=seed,
        use_cpu=device.type == "cpu",
        logging_steps=max(1, options.steps // _LOGS),
        save_steps=options.save_every,
        save_total_limit=1,
        eval_strategy="steps" if stops_early else "no",
        eval_steps=options.save_every if stops_early else None,
        load_best_model_at_end=stops_early,
        metric_for_best_model="loss" if stops_early else None,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        disable_tqdm=True,
        report_to=[],
    )
    # Without a launcher one process takes one GPU; the Trainer would otherwise spread it over all by DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _last_checkpoint(checkpoints: Path) -> Path | None:
    """Find the last whole checkpoint; the Trainer writes its state last, so what lacks it was cut short."""
    found = []
    for path in checkpoints.glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match is None:
            continue
        try:
            json.loads((path / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            found.append((int(match[1]), path))
    return max(found)[1] if found else None


class _Told(TrainerCallback):
    """Writes the history and shows progress."""

    def __init__(self, history: Path, on_progress: Callable[[int], None]) -> None:
        self._history = history
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Show how many steps are done."""
        self._on_progress(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Write all logs down; those before an interruption come back with the checkpoint."""
        if not state.is_world_process_zero:
            return
        logs = [{key: value for key, value in log.items() if not _MEASURED.fullmatch(key)} for log in state.log_history]
        replace_file(self._history, "".join(f"{json.dumps(log)}\n" for log in logs).encode())
        loss = logs[-1].get("loss", 0.0)
        if not torch.isfinite(torch.tensor(loss)):
            raise ModelError(
                f"the loss is {loss} after {state.global_step} steps; lower --learning-rate, or train in another "
                "--mixed-precision"
            )
