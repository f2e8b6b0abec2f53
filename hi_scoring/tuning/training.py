"""Training of an adapter with the Trainer of transformers. Owns its settings, and how training is resumed."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from datasetkit.core.errors import ModelError, RecipeError
from datasetkit.core.files import replace_file
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.tuning.collator import TuningSet, collate
from datasetkit.options.heads import TrainingOptions

HISTORY_NAME = "training.jsonl"
_CHECKPOINTS_NAME, _STATE_NAME = "checkpoints", "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_LOGS = 100
# Entries of a log that describe the machine rather than the training.
_MEASURED = re.compile(r"eval_(runtime|samples_per_second|steps_per_second)|total_flos")


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
    """Train the adapter of a model in place; continue from the last checkpoint in the folder.

    Equal arguments give equal weights, whether or not training was interrupted, on one device with one build of torch.
    Under torchrun or ``accelerate launch``, processes share each batch's gradients. Wrappers that the Trainer puts
    around the model's methods (for example for mixed precision) stay there: use a freshly loaded model for anything
    else.

    Args:
        adapted: a peft model.
        dialogue: the input format of the model.
        examples: training examples.
        validation: examples whose loss decides when training ends; only needed for ``patience``.
        options: training options.
        seed: seed of the order of examples and of dropout; random generators are restored afterwards.
        folder: for checkpoints and the history: one line of JSON per log entry, with step, loss and learning rate.
        on_progress: called with the number of finished steps.

    Raises:
        ModelError: the loss is not finite.

    """
    checkpoints = folder / _CHECKPOINTS_NAME
    with _generators_kept():
        trainer = Trainer(
            model=adapted,
            args=_arguments(adapted.device, options, seed, checkpoints),
            data_collator=partial(collate, dialogue),
            train_dataset=TuningSet(examples),
            eval_dataset=None if options.patience is None or validation is None else TuningSet(validation),
            callbacks=[_Told(folder / HISTORY_NAME, on_progress)],
        )
        trainer.remove_callback(PrinterCallback)
        if options.patience is not None:
            trainer.add_callback(EarlyStoppingCallback(options.patience))
        last = _last_checkpoint(checkpoints)
        final = None if last is None else _final(last)
        if final is None:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        else:
            adapted.load_adapter(str(final), adapted.active_adapter, is_trainable=True)
    adapted.eval()


def check_precision(options: TrainingOptions, device: str) -> None:
    """Refuse a precision that accelerate would silently ignore.

    Raises:
        RecipeError: the device does not train in this precision.

    """
    if options.mixed_precision == "fp16" and torch.device(device).type == "cpu":
        raise RecipeError("--mixed-precision fp16 does not work on a CPU; give bf16 or no")


def remove_checkpoints(folder: Path) -> None:
    """Remove the files that only an unfinished training needs."""
    shutil.rmtree(folder / _CHECKPOINTS_NAME, ignore_errors=True)


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Restore the global random generators, which the Trainer seeds."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


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
        **(_recomputing() if options.gradient_checkpointing else {}),
        seed=seed,
        use_cpu=device.type == "cpu",
        logging_steps=_steps_a_log(options),
        logging_nan_inf_filter=False,
        save_steps=options.save_every,
        save_total_limit=1,
        eval_strategy="steps" if stops_early else "no",
        eval_steps=options.save_every if stops_early else None,
        load_best_model_at_end=stops_early,
        metric_for_best_model="loss" if stops_early else None,
        restore_callback_states_from_checkpoint=True,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to=[],
    )
    # Without a launcher one process uses one GPU; the Trainer would otherwise use all of them with DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _recomputing() -> dict[str, Any]:
    """Return the option for gradient checkpointing, by either name that transformers 5 has for it."""
    names = ("activation_checkpointing", "gradient_checkpointing")
    name = next(name for name in names if name in TrainingArguments.__dataclass_fields__)
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _steps_a_log(options: TrainingOptions) -> int:
    """Return the steps per log: about a hundred logs, and one at every checkpoint, where the mean loss restarts."""
    most = max(1, options.steps // _LOGS)
    return max(steps for steps in range(1, most + 1) if options.save_every % steps == 0)


def _last_checkpoint(checkpoints: Path) -> Path | None:
    """Return the last complete checkpoint; the Trainer writes its state last, so one without it is incomplete."""
    found = []
    for path in checkpoints.glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        try:
            json.loads((path / _STATE_NAME).read_bytes())
        except (OSError, ValueError):
            continue
        if match is not None:
            found.append((int(match[1]), path))
    return max(found)[1] if found else None


def _final(last: Path) -> Path | None:
    """Return the checkpoint with the final weights; None if training is not finished."""
    state = TrainerState.load_from_json(str(last / _STATE_NAME))
    if not state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]:
        return None
    return last if state.best_global_step is None else last.with_name(f"checkpoint-{state.best_global_step}")


class _Told(TrainerCallback):
    """Writes the history and shows progress."""

    def __init__(self, history: Path, on_progress: Callable[[int], None]) -> None:
        self._history = history
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Report the number of finished steps."""
        self._on_progress(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Write all logs; those before an interruption are restored with the checkpoint."""
        last = state.log_history[-1]
        # The very last log only covers this process, and comes after the last checkpoint.
        if state.is_world_process_zero and "train_loss" not in last:
            logs = [
                {key: value for key, value in log.items() if not _MEASURED.fullmatch(key)} for log in state.log_history
            ]
            replace_file(self._history, "".join(f"{json.dumps(log, sort_keys=True)}\n" for log in logs).encode())
        loss = last.get("loss", last.get("train_loss", 0.0))
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} after {state.global_step} steps; lower --learning-rate, or train in another "
                "--mixed-precision"
            )
