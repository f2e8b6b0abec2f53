"""What the workers of a build do: whole parts, and single records on trial. Owns the worker's side of a build."""

from __future__ import annotations

import platform
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pyarrow import ArrowException

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import ModelError, SourceError, SourceFailedError
from datasetkit.core.protocols import Entry
from datasetkit.export.output.opening import open_parts
from datasetkit.export.output.part import PartWriter
from datasetkit.options.build import RunOptions
from datasetkit.options.recipe import Recipe
from datasetkit.pipeline.annotators import load_annotator
from datasetkit.pipeline.failures import PartFailures, check_part
from datasetkit.pipeline.inputs import FileState, Inputs
from datasetkit.pipeline.opening import Opened, open_source
from datasetkit.pipeline.records import Pipeline
from datasetkit.pipeline.splits import Cut
from datasetkit.runtime.engines.protocol import Do, Seat, Tell
from datasetkit.runtime.stages.timers import Snapshot, Stages


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all parts of a build.

    Args:
        build: the build that the parts are of.
        models: weights that a worker must have.
        cut: of all images, if shares are to be exact; otherwise None.

    """

    build: str
    models: tuple[ModelIdentity, ...]
    cut: Cut | None


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part to build.

    Args:
        index: its number.
        entries: its entries.
        terms: of the build.
        fatal: ids of the records whose workers died, which are dropped without being read.

    """

    index: int
    entries: tuple[Entry, ...]
    terms: Terms
    fatal: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trial:
    """A record to process without keeping the result, to see whether the worker survives."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class PartProgress:
    """Progress of a part: entries done, entries dropped, and the time of each stage so far."""

    done: int
    dropped: int
    stages: Snapshot


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Args:
        progress: when it ended.
        failures: of the source.
        error: why the part was not finished: the source fails; None if it was.

    """

    progress: PartProgress
    failures: PartFailures
    error: SourceFailedError | None = None


class BuildWork:
    """The work of one build.

    Args:
        recipe: what to build.
        run: how to build.
        fingerprint: of the source, as the driver found it.
        opened: what the driver opened, for a worker in the same process.

    """

    def __init__(self, recipe: Recipe, run: RunOptions, fingerprint: str, opened: Opened) -> None:
        self._recipe = recipe
        self._run = run
        self._fingerprint = fingerprint
        self._opened: Opened | None = opened

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be sent to other processes."""
        return {**self.__dict__, "_opened": None}

    def start(self, seat: Seat) -> tuple[tuple[ModelIdentity, ...], Do]:
        """Open the source and load models; see :class:`datasetkit.runtime.engines.protocol.Work`.

        Returns:
            the weights in use, and the function that takes a :class:`PartTask` or a :class:`Trial` and returns a
            :class:`PartResult`, or None for a trial.

        """
        opened = self._opened or open_source(self._recipe)
        fingerprint = self._fingerprint if self._opened else opened.source.fingerprint()
        if fingerprint != self._fingerprint:
            raise SourceError(
                f"the worker on {platform.node()} sees another source than the one that the build was started with: it "
                "has changed, or is a folder of another machine; run the build again"
            )
        worker = _Worker(self._recipe, self._run, fingerprint, opened, seat)
        return worker.models, worker.do


class _Worker:
    """A worker of a build."""

    def __init__(self, recipe: Recipe, run: RunOptions, fingerprint: str, opened: Opened, seat: Seat) -> None:
        self._recipe, self._out, self._most = recipe, run.out, run.max_failures
        self._stages = Stages()
        self._inputs = Inputs(opened.source, fingerprint)
        annotator = load_annotator(recipe, opened.finder, run, seat)
        self.models = () if annotator is None else annotator.identities
        self._pipeline = Pipeline(
            recipe,
            opened.source,
            opened.aligner,
            annotator,
            opened.filters,
            self._inputs,
            window=run.window,
            workers=seat.threads,
            stages=self._stages,
        )

    def do(self, task: PartTask | Trial, tell: Tell) -> PartResult | None:
        """Do one task."""
        if isinstance(task, Trial):
            with closing(self._pipeline.run([task.entry])) as outcomes:
                for _ in outcomes:
                    pass
            return None
        if task.terms.models != self.models:
            raise ModelError(
                f"the worker on {platform.node()} has other weights than the first worker; use the same files of the "
                "models everywhere"
            )
        return self._build(task, tell)

    def _build(self, task: PartTask, tell: Tell) -> PartResult:
        self._stages.take()
        self._pipeline.cut = task.terms.cut
        failures, done, dropped = PartFailures(), 0, 0
        try:
            with (
                PartWriter(open_parts(self._out, task.terms.build), task.index, overlay=self._recipe.overlay) as writer,
                closing(self._pipeline.run(task.entries, task.fatal)) as outcomes,
            ):
                states: dict[str, FileState] = {}
                for outcome in outcomes:
                    done += 1
                    dropped += outcome.row is None
                    failures = failures.with_outcome(outcome)
                    check_part(failures, done, self._most)
                    writer.add(outcome)
                    for name, state in outcome.inputs.items():
                        states.setdefault(name, state)
                    tell(PartProgress(done, dropped, self._stages.snapshot()))
                writer.account = self._inputs.account(task.entries, states)
        except SourceError as error:
            failed = as_failure(error)
            if failed is None:
                raise
            return PartResult(PartProgress(done, dropped, self._stages.take()), failures, failed)
        return PartResult(PartProgress(done, dropped, self._stages.take()), failures)


def as_failure(error: SourceError) -> SourceFailedError | None:
    """Return the failure of a source; None if its data are broken, for which readers raise bare errors."""
    cause = error.__cause__
    if isinstance(error, SourceFailedError):
        return error
    is_bare = type(cause) is OSError and cause.errno is None
    if cause is None or is_bare or isinstance(cause, ValueError | ArrowException):
        return None
    failed = SourceFailedError(str(error))
    failed.__cause__ = error
    return failed
