"""Knockout of a whole dataset, resumable. Owns the parts' files, and the order of the steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasetkit.core.errors import BuiltFolderError, OutputError, UnusableError
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.core.text import listed
from datasetkit.hi_scoring.interventions.knockout import Knockout
from datasetkit.hi_scoring.interventions.knockout_results import RESULT_NAMES, Knockouts
from datasetkit.hi_scoring.interventions.knockout_tables import PART_SCHEMA, KnockoutTables, part_row
from datasetkit.hi_scoring.interventions.questions import Questions
from datasetkit.hi_scoring.model.subject import Subject
from datasetkit.hi_scoring.runs.drops import (
    counted_reasons,
    drops_from_json,
    drops_to_json,
    in_row_order,
    row_drop,
)
from datasetkit.hi_scoring.runs.facts import checked_text
from datasetkit.hi_scoring.runs.files import write_table
from datasetkit.hi_scoring.runs.parts import PartedRun
from datasetkit.hi_scoring.runs.reading import read_table
from datasetkit.options.base import plain
from datasetkit.options.heads import KnockoutOptions
from datasetkit.runtime.batches import Batches

# Questions per part.
PART = 16
_DROPS_KEY = "drops"


def knockout_dataset(
    subject: Subject,
    questions: Questions,
    options: KnockoutOptions,
    folder: Path,
    *,
    batch: int = 16,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Knockouts:
    """Block flows in every question of a dataset; continue where an earlier call was interrupted.

    Args:
        subject: the model.
        questions: the questions to ask.
        options: what to block.
        folder: where results are saved; finished results of the same model, data and options are loaded from it.
        batch: number of blocks per forward pass; halved when memory runs out.
        overwrite: whether finished results in the folder are replaced; an interrupted run of the same kind is
            continued.
        on_progress: called with the number of finished questions.

    Raises:
        OutputError: the folder holds other results, or no question could be measured.
        BuiltFolderError: finished results or parts in it are damaged.
        ModelError: the model cannot be loaded, or its family is not supported.
        RecipeError: a chosen head does not exist.

    """
    description = {
        **subject.description(),
        "data": questions.identity.as_json(),
        "question_prompt": questions.items[0].template,
        "options": options,
        "batch": batch,
        "part": PART,
    }
    run = PartedRun(folder, "datasetkit knockout", description, RESULT_NAMES, ".parquet")
    run.check(overwrite=overwrite)
    if run.is_finished and not overwrite:
        return Knockouts.load(folder)
    knockout = Knockout(subject.model, subject.processor, options, batch, subject.family)
    run.prepare(overwrite=overwrite)
    for number, start in enumerate(range(0, len(questions), PART)):
        if not run.part(number).exists():
            _write_part(run.part(number), knockout, questions, start, on_progress)
    results, drops = _merged(run, questions)
    tables = KnockoutTables.of(results, only_correct=options.only_correct)
    found = Knockouts.of(tables, plain(description))
    if not tables.knockout.num_rows:
        raise OutputError(
            f"nothing was blocked: the model answered {results.num_rows:,} questions, "
            f"{sum(results['is_right'].to_pylist()):,} of them right, and none of these has the positions of any flow"
        )
    found.save(folder)
    run.finish(drops)
    return found


def _write_part(
    path: Path, knockout: Knockout, questions: Questions, start: int, on_progress: Callable[[int], None]
) -> None:
    rows: list[dict[str, Any]] = []
    drops: list[Drop] = []
    for place, item in enumerate(questions.items[start : start + PART], start):
        try:
            # One at a time: the blocks of one question fill whole batches.
            [result] = Batches(knockout.measure, 1).run([(item, questions.image(item))])
            if isinstance(result, UnusableError):
                raise result
            rows.append(part_row(item, result))
        except UnusableError as error:
            drops.append(row_drop(item.row, item.name, error))
        on_progress(place + 1)
    told = {_DROPS_KEY: json.dumps(drops_to_json(drops))}
    write_table(path, pa.Table.from_pylist(rows, PART_SCHEMA).replace_schema_metadata(told))


def _merged(run: PartedRun, questions: Questions) -> tuple[pa.Table, list[Drop]]:
    """Join all parts in the dataset's order.

    Raises:
        OutputError: no part has a question.

    """
    parts = [_read_part(path) for path in run.finished_parts()]
    drops = in_row_order((*questions.drops, *(drop for _, own in parts for drop in own)))
    results = pa.concat_tables([table for table, _ in parts])
    if not results.num_rows:
        raise OutputError(f"no question could be measured ({counted_reasons(drops)}; the first: {drops[0].detail})")
    return results, drops


def _read_part(path: Path) -> tuple[pa.Table, list[Drop]]:
    again = "remove it, and run the same command again"
    table, metadata = read_table(path, {}, "part of knockouts", again)
    told = checked_text(path, metadata, _DROPS_KEY, list[tuple[int | None, str, DropReason, str]], again)
    if not table.schema.equals(PART_SCHEMA):
        raise BuiltFolderError(f"{path} is damaged: its columns are {listed(table.column_names)}; {again}")
    return table, drops_from_json(told)
