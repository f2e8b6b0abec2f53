"""What ``datasetkit tune`` and ``compare`` have in common. Owns their shared options, the run, and what it prints."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from datasetkit.cli.asking import DATA, AskOptions, namer_of, unknown, unusable
from datasetkit.cli.options import name_of, names_in, options_of
from datasetkit.cli.progress import stage_line
from datasetkit.core.errors import RecipeError
from datasetkit.core.text import one_line

if TYPE_CHECKING:
    from datasetkit.hi_scoring.comparison.bench import Bench, Ranking
    from datasetkit.hi_scoring.comparison.compare import Comparison
    from datasetkit.hi_scoring.comparison.trials import Trial
    from datasetkit.hi_scoring.data.datasets import Data
    from datasetkit.hi_scoring.model.options import TextOptions
    from datasetkit.runtime.progress import OnProgress

ADAPTER, TRAINING = "Adapter", "Training"
# Names of rows for people; those of tests are names of results, too.
TRAIN, VALIDATION = "train", "validation"
# Of numpy's generator.
LAST_SEED = 2**32 - 1
_RECORDS_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class TuneOptions(AskOptions):
    """What is learnt, what is tested, and how an adapter is put on and trained."""

    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: tuned/MODEL--DATA]", show_default=False)
    ] = None
    scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Head scores of the model, as `datasetkit score` wrote them.")
    ] = None
    by: Annotated[str, typer.Option(metavar="SCORE:POSITIONS", help="What layers and heads are ranked by.")] = (
        "hi:response"
    )
    layer_score: Annotated[
        str, typer.Option(help="A layer's score: mean or max over its heads, or the mean of its N best.")
    ] = "mean"

    split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split to learn.  [default: train, or the only one]")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, rich_help_panel=DATA, help="Learn the first N rows only.")] = None
    test: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|USER/NAME[@REVISION]", rich_help_panel=DATA, help="Rows to test on.  [default: the same]"
        ),
    ] = None
    test_split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split to test on.  [default: test, or the only one]")
    ] = None
    forgetting: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|USER/NAME[@REVISION]",
            rich_help_panel=DATA,
            help="Rows of what the model could before, tested as well.",
        ),
    ] = None
    forgetting_split: Annotated[
        str | None, typer.Option(rich_help_panel=DATA, help="Split of these.  [default: test, or the only one]")
    ] = None
    test_limit: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=DATA, help="Test on the first N rows of each only.")
    ] = None
    test_batch: Annotated[
        int, typer.Option(min=1, rich_help_panel=DATA, help="Examples tested at once; halved when memory runs out.")
    ] = 32

    method: Annotated[
        str, typer.Option(rich_help_panel=ADAPTER, help="Any of peft's methods that adapt modules: LORA, LOHA, IA3 ...")
    ] = "LORA"
    rank: Annotated[int, typer.Option(min=1, rich_help_panel=ADAPTER, help="Of LoRA's two matrices.")] = 8
    alpha: Annotated[
        int, typer.Option(min=1, rich_help_panel=ADAPTER, help="LoRA's update is scaled by alpha/rank.")
    ] = 16
    dropout: Annotated[float, typer.Option(min=0, max=1, rich_help_panel=ADAPTER, help="Before the adapter.")] = 0.0
    targets: Annotated[
        str, typer.Option(rich_help_panel=ADAPTER, help="Projections of a layer's attention or MLP; comma-separated.")
    ] = "q_proj,k_proj,v_proj,o_proj"
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            rich_help_panel=ADAPTER,
            help="Any field of peft's configuration of the method, as use_dora=true; repeatable.",
        ),
    ] = None

    steps: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Updates of the weights.")] = 500
    batch: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Examples in one forward pass.")] = 8
    accumulate: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="Forward passes before each update.")
    ] = 1
    learning_rate: Annotated[float, typer.Option(rich_help_panel=TRAINING, help="Its highest value.")] = 2e-4
    schedule: Annotated[
        str, typer.Option(rich_help_panel=TRAINING, help="How it falls: cosine, linear or constant_with_warmup.")
    ] = "cosine"
    warmup: Annotated[float, typer.Option(rich_help_panel=TRAINING, help="Share of steps in which it rises.")] = 0.03
    weight_decay: Annotated[float, typer.Option(rich_help_panel=TRAINING, help="Of AdamW.")] = 0.0
    clip: Annotated[float, typer.Option(rich_help_panel=TRAINING, help="Largest norm of the gradient.")] = 1.0
    mixed_precision: Annotated[
        str, typer.Option(rich_help_panel=TRAINING, help="Type of activations in training: no, bf16 or fp16.")
    ] = "no"
    gradient_checkpointing: Annotated[
        bool,
        typer.Option("--gradient-checkpointing", rich_help_panel=TRAINING, help="Save memory, compute more."),
    ] = False
    save_every: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="Steps between checkpoints, to go on from.")
    ] = 100
    validation_split: Annotated[
        str | None, typer.Option(rich_help_panel=TRAINING, help="Split of the data whose loss ends training early.")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=TRAINING, help="Checkpoints without a lower loss before it ends."),
    ] = None

    def bench(
        self, model: str, data: str, selections: Sequence[str], seeds: Sequence[int], on_progress: OnProgress
    ) -> tuple[Bench, list[Trial]]:
        """Open everything that the options name, and look at all rows; nothing is computed yet.

        Whatever can be refused without the rows is refused before they are read.
        """
        from datasetkit.hi_scoring.comparison.bench import Bench, check_trials, selector_of
        from datasetkit.hi_scoring.comparison.trials import trials_of
        from datasetkit.hi_scoring.data.examples import read_examples
        from datasetkit.hi_scoring.model.dialogue import Dialogue
        from datasetkit.hi_scoring.tuning.adapters import AdapterOptions
        from datasetkit.hi_scoring.tuning.options import TrainingOptions
        from datasetkit.runtime.packages import PEFT, PYCOCOEVALCAP, require

        require("tuning", PEFT, PYCOCOEVALCAP)
        texts, writing = self.texts(), self.writing()
        adapter = options_of(
            AdapterOptions,
            method=self.method,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            targets=names_in(self.targets),
            settings=_settings(self.set or ()),
        )
        training = options_of(TrainingOptions, **{name: getattr(self, name) for name in TrainingOptions.model_fields})
        if (self.patience is None) != (self.validation_split is None):
            raise RecipeError("--patience and --validation-split go together; give both or neither")
        ranking = self._ranking()
        subject = self.subject(model)
        trials = trials_of(selections, seeds, selector_of(subject, ranking))
        check_trials(trials, subject, adapter, training)
        dialogue = Dialogue(subject.processor, subject.config)
        rows = self._rows(data, texts)
        examples = {
            name: read_examples(found, texts, dialogue, partial(_show, on_progress, f"reading {name}", len(found)))
            for name, found in rows.items()
        }
        for name, found in examples.items():
            # What is learnt from is held against nothing.
            lacking = unknown(rows[name], texts) if name not in (TRAIN, VALIDATION) else []
            for line in (*unusable(found), *lacking):
                _tell(f"{name}: {line}")
        namer = namer_of(*(found for name, found in rows.items() if name != VALIDATION))
        bench = Bench(
            subject=subject,
            train=examples.pop(TRAIN),
            validation=examples.pop(VALIDATION, None),
            tests=examples,
            ranking=ranking,
            texts=texts,
            adapter=adapter,
            training=training,
            writing=writing,
            namer=namer,
            batch=self.test_batch,
        )
        return bench, trials

    def _ranking(self) -> Ranking | None:
        from datasetkit.hi_scoring.comparison.bench import Ranking
        from datasetkit.hi_scoring.scores.results import HeadScores

        if self.scores is None:
            return None
        layer = int(self.layer_score) if self.layer_score.isdecimal() else self.layer_score
        return Ranking(HeadScores.load(self.scores), self.by, layer)

    def _rows(self, data: str, texts: TextOptions) -> dict[str, Data]:
        """Open what is learnt, what decides when training ends, and what is tested, and say how much it is."""
        from datasetkit.hi_scoring.data.datasets import ASKED, DESCRIBED, open_data

        requires = DESCRIBED if "caption" in texts.tasks else ASKED
        rows = {TRAIN: open_data(data, self.split, self.limit, requires, "train")}
        if self.validation_split is not None:
            rows[VALIDATION] = open_data(data, self.validation_split, None, requires)
        rows["test"] = open_data(self.test or data, self.test_split, self.test_limit, requires, "test")
        if self.forgetting is not None:
            rows["forgetting"] = open_data(self.forgetting, self.forgetting_split, self.test_limit, requires, "test")
        for name, found in rows.items():
            _tell(f"{name}: {len(found):,} rows of split {found.identity.split} of {found.identity.name}")
        return rows

    def folder(self, model: str, data: str) -> Path:
        """Where results go."""
        return self.out or Path("tuned") / f"{name_of(model)}--{name_of(data)}"


def run(
    model: str,
    data: str,
    selections: list[str],
    seeds: list[int],
    shard: tuple[int, int],
    command: str,
    options: TuneOptions,
) -> None:
    """Tune what is selected with every seed, and report."""
    from datasetkit.hi_scoring.comparison.compare import compare

    folder = options.folder(model, data)
    is_first = _is_first()
    with _quiet(), stage_line(shown=is_first) as on_progress:
        bench, trials = options.bench(model, data, selections, seeds, on_progress)
        found = compare(
            bench, trials, folder, command, shard=shard, overwrite=options.overwrite, on_progress=on_progress
        )
    if not is_first:
        return
    if found is None:
        typer.echo(f"this shard is done; {folder} reports when all are")
    else:
        _report(found, bench, folder)


def _report(found: Comparison, bench: Bench, folder: Path) -> None:
    """Write tables and pages, and print what they say."""
    from datasetkit.cli.tables import print_tables
    from datasetkit.hi_scoring.comparison.compare import CELLS_NAME
    from datasetkit.hi_scoring.comparison.report.markdown import write_markdown
    from datasetkit.hi_scoring.comparison.report.page import write_page
    from datasetkit.hi_scoring.comparison.report.predictions import side_by_side
    from datasetkit.hi_scoring.comparison.report.terminal import comparison_tables
    from datasetkit.hi_scoring.comparison.table import contrasts_table, shifts_table, write_tables
    from datasetkit.hi_scoring.scores.run import PAGE_NAME
    from datasetkit.options.base import plain

    shifts, contrasts, description = shifts_table(found), contrasts_table(found), plain(bench.description())
    write_tables(folder, shifts, contrasts)
    write_markdown(folder / "comparison.md", found, shifts, contrasts, description)
    asked = side_by_side(folder, found, _RECORDS_SHOWN)
    write_page(folder / PAGE_NAME, found, shifts, contrasts, description, asked)
    print_tables(comparison_tables(found, shifts, contrasts))
    for group, cells in found.groups.items():
        first = cells[0]
        share = first.trainable / first.parameters
        typer.echo(f"{group}: {first.trainable:,} numbers trained, {share:.4%} of {first.parameters:,}")
        for cell in cells:
            typer.echo(f"  {cell.name}: {', '.join(cell.modules)}")
    typer.echo(f"wrote {folder} (adapters: {CELLS_NAME}/NAME/adapter; tables: comparison.md, *.parquet)")
    typer.echo(f"open {folder / PAGE_NAME} in a browser")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars of libraries, and what they tell other libraries' authors, away from our own lines."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("accelerate", "peft", "transformers")]
    levels, had_bars = [logger.level for logger in loggers], datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            datasets.enable_progress_bars()


def _is_first() -> bool:
    from datasetkit.hi_scoring.scores.run import Share

    return Share.is_first()


def _tell(line: str) -> None:
    if _is_first():
        typer.echo(line, err=True)


def _show(on_progress: OnProgress, stage: str, total: int, done: int) -> None:
    on_progress(stage, done, total)


def _settings(given: list[str] | tuple[str, ...]) -> dict[str, Any]:
    settings = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise RecipeError(f"--set {one}: give NAME=VALUE")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {one}: the value is no YAML: {one_line(error)}") from error
    return settings
