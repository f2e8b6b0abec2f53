"""Head scores of a model on a dataset, with what they were computed from. Owns their tables and rankings.

Layers and heads count from 0. NaN means "not measured". Equal scores give equal files, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import datasetkit
from datasetkit.core.detections import ModelIdentity
from datasetkit.core.errors import BuiltFolderError, RecipeError, RecordError, UnknownNameError
from datasetkit.core.text import one_line
from datasetkit.hi_scoring.scores import files
from datasetkit.hi_scoring.scores.facts import FACTS_NAME
from datasetkit.hi_scoring.statistics import FloatArray, bootstrap_interval, nanmean, ranking
from datasetkit.options.heads import SCORE_NAMES, ScoreOptions
from datasetkit.runtime.registry import Origin

Samples = NDArray[np.float32]
_ROUNDING = 1e-9


class Head(NamedTuple):
    """An attention head: its layer, and its index in the layer."""

    layer: int
    head: int


class HeadScores:
    """Every score of every head on every sample.

    Args:
        values: scores by (score, positions), such as ("hi", "response"): (n, layers, heads) float, NaN where a sample
            has no value. Score names are those of ``SCORE_NAMES``, or ``hi@NAME`` for another binarisation.
        chances: chance level of a score in each sample, of the same shape, where it is defined.
        record_ids: ids of the n samples.
        options: how heads were scored.
        model: the model that the heads belong to.
        dataset: identity of the rows: name, revision or digest of the manifest, split; plain JSON values.
        version: version of datasetkit.
        environment: the environment of the computation: dtype, device, batch, versions; plain JSON values.

    Raises:
        RecordError: shapes differ, or a chance level belongs to no score.

    """

    def __init__(
        self,
        values: Mapping[tuple[str, str], FloatArray],
        *,
        chances: Mapping[tuple[str, str], FloatArray],
        record_ids: Sequence[str],
        options: ScoreOptions,
        model: ModelIdentity,
        dataset: Mapping[str, Any],
        version: str = datasetkit.__version__,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        self.values = _in_order(values)
        self.chances = _in_order(chances)
        self.record_ids = tuple(record_ids)
        self.options = options
        self.model = model
        self.dataset = dict(dataset)
        self.version = version
        self.environment = dict(environment or {})
        self._check()

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of layers and heads."""
        _, layers, heads = next(iter(self.values.values())).shape
        return layers, heads

    @property
    def plugins(self) -> tuple[Origin, ...]:
        """The origins of plug-ins."""
        return tuple(Origin(**one) for one in self.environment.get("plugins", ()))

    @property
    def source(self) -> dict[str, Any]:
        """Return what the scores were computed from, besides the model; equal sources give equal scores."""
        return {"data": self.dataset, "options": self.options}

    def require(self, model: ModelIdentity) -> None:
        """Refuse a model other than the one that was scored.

        Raises:
            RecipeError: its weights differ.

        """
        if (self.model.revision, self.model.sha256) != (model.revision, model.sha256):
            raise RecipeError(
                f"the scores belong to {self.model.id} ({self.model.revision or self.model.sha256}), the model is "
                f"{model.id} ({model.revision or model.sha256}); score this one"
            )

    def mean(self, score: str, positions: str) -> FloatArray:
        """Return the mean over samples, shape (layers, heads), float64."""
        return nanmean(self._samples(score, positions))

    def interval(self, score: str, positions: str) -> tuple[FloatArray, FloatArray]:
        """Return both ends of the mean's 95 % bootstrap interval over samples, shape (layers, heads) each."""
        return bootstrap_interval(self._samples(score, positions))

    def n(self, score: str, positions: str) -> NDArray[np.int64]:
        """Return the number of samples in which a head has the score, shape (layers, heads)."""
        return np.count_nonzero(~np.isnan(self._samples(score, positions)), axis=0).astype(np.int64)

    def chance(self, score: str, positions: str) -> FloatArray:
        """Return the mean chance level over samples in which a head has the score, (layers, heads); NaN if unknown."""
        samples = self._samples(score, positions)
        if (score, positions) not in self.chances:
            return np.full(self.shape, np.nan)
        return nanmean(np.where(np.isnan(samples), np.nan, self.chances[score, positions]))

    def table(self) -> pd.DataFrame:
        """Return one row for each of ``SCORE_NAMES``, positions, layer and head: mean, low, high, chance, n."""
        layer, head = (axis.ravel() for axis in np.indices(self.shape))
        parts = []
        for score, positions in self._tabulated:
            low, high = self.interval(score, positions)
            columns = {
                "mean": self.mean(score, positions),
                "low": low,
                "high": high,
                "chance": self.chance(score, positions),
                "n": self.n(score, positions),
            }
            flat = {name: column.ravel() for name, column in columns.items()}
            parts.append(pd.DataFrame({"score": score, "positions": positions, "layer": layer, "head": head, **flat}))
        return pd.concat(parts, ignore_index=True)

    def layers_table(self, reduce: str | int = "mean") -> pd.DataFrame:
        """Return one row for each of ``SCORE_NAMES``, positions and layer: mean, low, high, chance, n.

        Args:
            reduce: how a layer's score follows from its heads: their ``mean``, their ``max``, or, for a number k, the
                mean of the k highest heads. The interval is that of the layer's score; the interval of a maximum is
                biased upwards.

        Returns:
            the table; chance is the mean over the layer's heads, n counts samples in which any head has the score.

        """
        parts = []
        for score, positions in self._tabulated:
            samples = self.values[score, positions]
            low, high = bootstrap_interval(samples, reduce=lambda means: _over_heads(means, reduce))
            parts.append(
                pd.DataFrame(
                    {
                        "score": score,
                        "positions": positions,
                        "layer": np.arange(self.shape[0]),
                        "mean": _over_heads(self.mean(score, positions), reduce),
                        "low": low,
                        "high": high,
                        "chance": nanmean(self.chance(score, positions), axis=-1),
                        "n": np.count_nonzero(~np.isnan(samples).all(axis=2), axis=0).astype(np.int64),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    @property
    def _tabulated(self) -> list[tuple[str, str]]:
        """Return the scores in tables; other binarisations are only used for the stability of the ranking."""
        return [(score, positions) for score, positions in self.values if score in self.options.score_names]

    def top(self, k: int, by: str = "hi:response") -> list[Head]:
        """Return the k heads with the highest mean, highest first; ties by layer and head. Fewer if fewer have a score.

        Raises:
            UnknownNameError: ``by`` is not a SCORE:POSITIONS of these scores.

        """
        return self._heads(ranking(self.mean(*self._parse(by)))[: _counted(k)])

    def bottom(self, k: int, by: str = "hi:response") -> list[Head]:
        """Return the k heads with the lowest mean, lowest first; otherwise like :meth:`top`."""
        return self._heads(ranking(-self.mean(*self._parse(by)))[: _counted(k)])

    def layers(self, k: int, by: str = "hi:response", reduce: str | int = "mean") -> list[int]:
        """Return the k layers with the highest score, highest first; see :meth:`layers_table` and :meth:`top`."""
        return ranking(_over_heads(self.mean(*self._parse(by)), reduce))[: _counted(k)].tolist()

    def core_heads(self, share: float = 0.05, by: str = "ram:response") -> list[Head]:
        """Return CoRe heads: the ``ceil(share x layers x heads)`` heads with the highest RAM (arXiv 2606.05843)."""
        if not 0 < share <= 1:
            raise RecordError(f"the share of CoRe heads is {share}; give a share above 0 and at most 1")
        return self.top(math.ceil(share * math.prod(self.shape) - _ROUNDING), by)

    def save(self, folder: Path) -> None:
        """Write four files; until the last one is in place, the folder counts as unfinished."""
        tensors = {f"values/{score}/{positions}": array for (score, positions), array in self.values.items()}
        tensors |= {f"chances/{score}/{positions}": array for (score, positions), array in self.chances.items()}
        facts = {
            "version": self.version,
            "environment": self.environment,
            "model": asdict(self.model),
            "dataset": self.dataset,
            "options": self.options.model_dump(mode="json"),
            "layers": self.shape[0],
            "heads": self.shape[1],
            "n": len(self.record_ids),
            "scores": [f"{score}:{positions}" for score, positions in self.values],
            "record_ids": self.record_ids,
        }
        files.write(folder, tensors, facts, heads=self.table(), layers=self.layers_table())

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BuiltFolderError: the folder holds no finished scores, or this version cannot read them.

        """
        tensors, facts = files.read(Path(folder))
        try:
            found = cls(
                _of_kind(tensors, "values"),
                chances=_of_kind(tensors, "chances"),
                record_ids=facts["record_ids"],
                options=ScoreOptions(**facts["options"]),
                model=ModelIdentity(**facts["model"]),
                dataset=facts["dataset"],
                version=facts["version"],
                environment=facts["environment"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BuiltFolderError(
                f"{folder} holds no head scores that can be read: {one_line(error)}; score it again"
            ) from error
        if (*found.shape, len(found.record_ids)) != (facts["layers"], facts["heads"], facts["n"]):
            raise BuiltFolderError(f"{Path(folder) / FACTS_NAME} describes scores of another shape; score it again")
        return found

    def _check(self) -> None:
        if not self.values:
            raise RecordError("head scores are empty; give at least one score")
        expected = (len(self.record_ids), *next(iter(self.values.values())).shape[1:])
        for (score, positions), array in (*self.values.items(), *self.chances.items()):
            if array.ndim != 3 or array.shape != expected:
                raise RecordError(
                    f"{score}:{positions} has shape {array.shape}; "
                    f"{len(self.record_ids)} records and the other scores require {expected}: (n, layers, heads)"
                )
        if stray := [f"{score}:{positions}" for score, positions in self.chances.keys() - self.values.keys()]:
            raise RecordError(f"chance levels of {', '.join(sorted(stray))} have no scores")

    def _samples(self, score: str, positions: str) -> Samples:
        try:
            return self.values[score, positions]
        except KeyError:
            known = ", ".join(":".join(name) for name in self.values)
            raise UnknownNameError(f"no score is called {score}:{positions}; known: {known}") from None

    def _parse(self, by: str) -> tuple[str, str]:
        score, _, positions = by.partition(":")
        self._samples(score, positions)
        return score, positions

    def _heads(self, order: NDArray[np.intp]) -> list[Head]:
        return [Head(*divmod(place, self.shape[1])) for place in order.tolist()]


def _in_order(values: Mapping[tuple[str, str], FloatArray]) -> dict[tuple[str, str], Samples]:
    """Sort by score, those of ``SCORE_NAMES`` first, then by positions, so that files do not depend on input order."""
    places = {name: place for place, name in enumerate(SCORE_NAMES)}
    order = sorted(values, key=lambda name: (places.get(name[0], len(SCORE_NAMES)), name))
    return {name: np.ascontiguousarray(values[name], dtype=np.float32) for name in order}


def _of_kind(tensors: Mapping[str, Samples], kind: str) -> dict[tuple[str, str], Samples]:
    parts = ((name.split("/"), array) for name, array in tensors.items())
    return {(score, positions): array for (found, score, positions), array in parts if found == kind}


def _counted(k: int) -> int:
    if k < 1:
        raise RecordError(f"{k} heads or layers were requested; request at least 1")
    return k


def _over_heads(values: FloatArray, reduce: str | int) -> FloatArray:
    """Reduce the last axis without NaN; NaN where all values are NaN."""
    if reduce == "mean":
        return nanmean(values, axis=-1)
    if reduce == "max":
        return np.fmax.reduce(values, axis=-1)
    if isinstance(reduce, int) and reduce >= 1:
        return nanmean(-np.sort(-values, axis=-1)[..., :reduce], axis=-1)
    raise UnknownNameError(f"no layer score is called {reduce!r}; known: mean, max, or a number of heads from 1")
