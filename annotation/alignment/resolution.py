"""Which objects the mentions of one description name, from their words and from what fits them.

Owns the decisions by number; whether the fit comes from a lexicon or a detector is up to the caller. In short:

- a plural without a number ("cats", "a group of people") names all that fit, crowd regions too; if there is also a
  singular or a number of the same things ("a man", "people"), it names the others, and is ambiguous if it is not
  certain which these are;
- a number names exactly that many ("two dogs"): if more fit it is ambiguous, if fewer fit it names those; if only crowd
  regions fit, more regions than the number are ambiguous too;
- a singular ("a dog") names the only one that fits, and is ambiguous if several do;
- two mentions that must be different things ("a man and a woman") are both ambiguous, even if only one is there;
- "another", "other" and hypernyms ("an animal") leave out what other mentions already name;
- if nothing fits, objects of a category that is often confused with it are named if there are exactly as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasetkit.annotation.alignment.mentions import Mention
from datasetkit.annotation.alignment.reasons import AlignmentReason


@dataclass(frozen=True, slots=True)
class Instance:
    """One object that a mention may name; a crowd covers several things that were not annotated one by one."""

    id: int
    is_crowd: bool


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How well each of M mentions fits each of N instances.

    Args:
        fit: shape (M, N), range [0, 1]; 0 where it does not fit. Mentions are compared with each other by it.
        near: shape (M, N), dtype bool, whether the instance's category is often confused with what the mention names.
        weight: shape (M, N), positive where it fits: the instance's weight if the mention is ambiguous.

    """

    fit: NDArray[np.float64]
    near: NDArray[np.bool_]
    weight: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a mention names.

    Args:
        object_ids: the instances that it names.
        candidates: for an ambiguous mention, the instances that it may name with their scores, best first; the scores
            are None where nothing shows how likely each is.
        score: confidence in [0, 1]; None where nothing was found.
        reason: why it is not a plain match, or None.

    """

    object_ids: tuple[int, ...] = ()
    candidates: tuple[tuple[int, float | None], ...] = ()
    score: float | None = None
    reason: AlignmentReason | None = None


def resolve(mentions: Sequence[Mention], instances: Sequence[Instance], evidence: Evidence) -> list[Resolution]:
    """Resolve the mentions of one description together; results are in the order of the mentions."""
    scene = _Scene(mentions, instances, evidence)
    results: list[Resolution] = []
    taken: list[dict[int, float]] = []
    for index in range(len(mentions)):
        result = scene.resolution(index)
        results.append(_weighed(index, mentions, taken, result) if result.candidates else result)
        likely = {one: score or 0.0 for one, score in results[-1].candidates}
        taken.append(likely | dict.fromkeys(results[-1].object_ids, 1.0))
    return results


class _Scene:
    """The mentions of one description with the indices of the instances that fit each.

    ``pools`` holds all that fit, ``claims`` those that a numbered mention names for certain, ``free`` what other
    mentions leave of the pools.
    """

    def __init__(self, mentions: Sequence[Mention], instances: Sequence[Instance], evidence: Evidence) -> None:
        self._mentions = mentions
        self._instances = instances
        self._evidence = evidence
        self._pools = [np.flatnonzero(row > 0.0).tolist() for row in evidence.fit]
        self._claims = [self._certain(index) for index in range(len(mentions))]
        self._free = [self._without_claimed(index) for index in range(len(mentions))]

    def resolution(self, index: int) -> Resolution:
        """Return what one mention names; the candidates of an ambiguous one have weights instead of scores."""
        mention = self._mentions[index]
        if mention.demand == 0:
            return Resolution(reason=AlignmentReason.NEGATED)  # "no cars"
        if not self._pools[index]:
            return self._resolve_near(index)  # "a bus", with no bus but maybe a truck
        if not self._free[index]:
            return Resolution(reason=AlignmentReason.NO_INSTANCE)  # "a dog and another dog", with one dog
        if mention.demand is None:
            return self._resolve_all(index)  # "dogs"
        if self._is_contested(index):  # "a man and a woman", with one person
            return self._ambiguous(index, self._free[index], AlignmentReason.CONTESTED)
        return self._resolve_number(index, mention.demand)  # "two dogs"

    def _certain(self, index: int) -> frozenset[int]:
        """Return what a numbered mention names for certain if it is considered on its own."""
        demand, singles = self._mentions[index].demand, self._singles(self._pools[index])
        return frozenset(singles if demand is not None and len(singles) <= demand else ())

    def _without_claimed(self, index: int) -> list[int]:
        """Leave out what mentions with other names claim, where this one names something else."""
        mention, fit = self._mentions[index], self._evidence.fit
        is_new_hypernym = mention.general and not mention.definite and mention.demand is not None
        if not (mention.other or is_new_hypernym):
            return self._pools[index]
        claimed: set[int] = set()
        for place, rival in enumerate(self._mentions):
            if place == index or rival.other:
                continue
            if mention.other:  # "a cat and another animal"
                claimed |= set(self._pools[place]) if rival.demand is None else self._claims[place]
            elif is_new_hypernym and rival.name != mention.name:  # "a cat and an animal"
                claimed |= {item for item in self._claims[place] if fit[place, item] > fit[index, item]}
        return [item for item in self._pools[index] if item not in claimed]

    def _resolve_near(self, index: int) -> Resolution:
        """Name things often confused with what the mention names, if their number is right and no mention fits them."""
        nobodys = self._evidence.near[index] & ~(self._evidence.fit > 0.0).any(axis=0)
        places = np.flatnonzero(nobodys).tolist()
        if len(places) == (self._mentions[index].demand or 1):
            return Resolution(self._ids(places), score=0.5, reason=AlignmentReason.NEAR_CATEGORY)
        return Resolution(reason=AlignmentReason.NO_INSTANCE)

    def _resolve_all(self, index: int) -> Resolution:
        """Name all that fit; next to "a man", "people" are the others, and which these are may be open."""
        mention, free = self._mentions[index], self._free[index]
        named: set[int] = set()
        for place in self._rivals(index):
            if not self._claims[place]:
                # "a man and people", with three persons: which one is the man is not certain
                return self._ambiguous(index, free, AlignmentReason.TOO_MANY_FIT)
            named |= self._claims[place]
        sums_up = mention.definite and mention.general  # "a cat and a dog ... the animals"
        rest = [item for item in free if sums_up or item not in named]
        return Resolution(self._ids(rest or free), score=1.0)

    def _is_contested(self, index: int) -> bool:
        """Return whether this mention and others that name different things demand more than there are."""
        mentions, free = self._mentions, self._free[index]
        own = asked = mentions[index].demand or 0
        for place in self._rivals(index):
            first, second = sorted((index, place))
            if mentions[second].is_distinct_from(mentions[first]):
                asked += mentions[place].demand or 0
        return asked > own and asked > len(free) == len(self._singles(free))

    def _rivals(self, index: int) -> list[int]:
        """Return the indices of the other mentions with a number that may name some of the same things."""
        own = set(self._free[index])
        return [
            place
            for place, rival in enumerate(self._mentions)
            if place != index and rival.demand and not own.isdisjoint(self._free[place])
        ]

    def _resolve_number(self, index: int, demand: int) -> Resolution:
        """Name exactly so many; a crowd region counts only where single things do not suffice."""
        pool = self._free[index]
        singles = self._singles(pool)
        if len(singles) > demand:
            return self._ambiguous(index, singles, AlignmentReason.TOO_MANY_FIT)  # "a dog", with two dogs
        if len(singles) == demand:
            return Resolution(self._ids(singles), score=1.0)  # "two dogs", with two dogs
        if not singles and len(pool) > demand:
            return self._ambiguous(index, pool, AlignmentReason.TOO_MANY_FIT)  # "a dog", with two crowds of dogs
        if len(singles) < len(pool):  # "a dog", with a crowd of dogs
            return Resolution(self._ids(pool), score=0.5, reason=AlignmentReason.CROWD_ONLY)
        # "three dogs", with two dogs
        return Resolution(self._ids(pool), score=len(singles) / demand, reason=AlignmentReason.FEWER_THAN_SAID)

    def _ambiguous(self, index: int, places: Sequence[int], reason: AlignmentReason) -> Resolution:
        weights = self._evidence.weight[index, list(places)].tolist()
        return Resolution(candidates=tuple(zip(self._ids(places), weights, strict=True)), reason=reason)

    def _singles(self, places: Sequence[int]) -> list[int]:
        return [place for place in places if not self._instances[place].is_crowd]

    def _ids(self, places: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._instances[place].id for place in places)


def _weighed(
    index: int, mentions: Sequence[Mention], earlier: Sequence[Mapping[int, float]], result: Resolution
) -> Resolution:
    """Turn weights into scores that add up to 1; what an earlier, different mention probably names counts less."""
    weights = {object_id: weight or 0.0 for object_id, weight in result.candidates}
    for place, taken in enumerate(earlier):
        if not mentions[index].is_distinct_from(mentions[place]):
            continue
        for object_id in weights.keys() & taken.keys():
            weights[object_id] *= 1.0 - 0.9 * taken[object_id]
    total = sum(weights.values())
    scores = ((object_id, round(weight / total, 6)) for object_id, weight in weights.items())
    ranked = sorted(scores, key=lambda candidate: (-candidate[1], candidate[0]))
    return Resolution(candidates=tuple(ranked), score=ranked[0][1], reason=result.reason)
