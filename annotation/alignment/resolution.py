"""Which objects the mentions of one description name, from words, categories and counts alone.

Owns the decisions; it looks at no pixels. In short:

- a plural without a number ("cats", "a group of people") names all, crowd regions too; beside a singular or a number of
  the same category ("a man", "people") it names the others, and is ambiguous where these are not certain;
- a number names exactly so many: with more in the picture it is ambiguous, with fewer it names those there are;
- a singular names the only one there is, and is ambiguous where there are several;
- two mentions that must be different things ("a man and a woman") are both ambiguous, also where one is there;
- "another", "other" and hypernyms leave out what the other mentions already name;
- where nothing is of the noun's category, things of one that people take for it, if they are exactly as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotation.alignment.mentions import Mention
from annotation.alignment.reasons import AlignmentReason


@dataclass(frozen=True, slots=True)
class Instance:
    """One object as far as words can speak of it.

    Args:
        id: the object's id.
        category: its category.
        is_crowd: whether it covers several things that were not told apart.
        prominence: weight among candidates, positive: larger and more central is more.

    """

    id: int
    category: str
    is_crowd: bool
    prominence: float


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a mention names.

    Args:
        object_ids: the objects that it names.
        candidates: for an ambiguous mention, the objects that it may name with their scores, best first.
        score: confidence in [0, 1]; None where nothing was found.
        reason: why it is not a plain match, or None.

    """

    object_ids: tuple[int, ...] = ()
    candidates: tuple[tuple[int, float], ...] = ()
    score: float | None = None
    reason: AlignmentReason | None = None


def resolve(mentions: Sequence[Mention], instances: Sequence[Instance]) -> list[Resolution]:
    """Resolve the mentions of one description together; results stand in the order of the mentions."""
    pools = [[item for item in instances if item.category in mention.categories] for mention in mentions]
    claims = [_certain(mention, pool) for mention, pool in zip(mentions, pools, strict=True)]
    free = [_without_claimed(index, mentions, pools, claims) for index in range(len(mentions))]
    results: list[Resolution] = []
    for index, mention in enumerate(mentions):
        if mention.demand == 0:
            result = Resolution(reason=AlignmentReason.NEGATED)
        elif not pools[index]:
            result = _resolve_near(mention, mentions, instances)
        elif not free[index]:
            result = Resolution(reason=AlignmentReason.NO_INSTANCE)
        elif mention.demand is None:
            result = _resolve_all(index, mentions, free, claims)
        elif _is_contested(index, mentions, free):
            result = _ambiguous(free[index], AlignmentReason.CONTESTED)
        else:
            result = _resolve_number(mention.demand, free[index])
        results.append(_weighed(index, mentions, results, result) if result.candidates else result)
    return results


def _certain(mention: Mention, pool: Sequence[Instance]) -> frozenset[int]:
    """Give the ids that a numbered mention names for certain, as far as itself is concerned."""
    singles = [item.id for item in pool if not item.is_crowd]
    return frozenset(singles if mention.demand is not None and len(singles) <= mention.demand else ())


def _without_claimed(
    index: int,
    mentions: Sequence[Mention],
    pools: Sequence[Sequence[Instance]],
    claims: Sequence[frozenset[int]],
) -> list[Instance]:
    """Leave out what mentions of other nouns name for certain, where this one names something else."""
    mention = mentions[index]
    is_new_hypernym = len(mention.categories) > 1 and not mention.definite and mention.demand is not None
    claimed: set[int] = set()
    for place, rival in enumerate(mentions):
        if place == index or rival.other:
            continue
        if mention.other:
            claimed |= {item.id for item in pools[place]} if rival.demand is None else claims[place]
        elif is_new_hypernym and rival.entry != mention.entry:
            shared = [item for item in pools[index] if item.id in claims[place]]
            claimed |= {item.id for item in shared if rival.distance(item.category) < mention.distance(item.category)}
    return [item for item in pools[index] if item.id not in claimed]


def _resolve_near(mention: Mention, mentions: Sequence[Mention], instances: Sequence[Instance]) -> Resolution:
    """Take things of a category often confused with the mention's, if they are as many as it says and nobody's."""
    spoken_of = {category for rival in mentions for category in rival.categories}
    pool = [item.id for item in instances if item.category in mention.near and item.category not in spoken_of]
    if len(pool) == (mention.demand or 1):
        return Resolution(tuple(pool), score=0.5, reason=AlignmentReason.NEAR_CATEGORY)
    return Resolution(reason=AlignmentReason.NO_INSTANCE)


def _resolve_all(
    index: int, mentions: Sequence[Mention], free: Sequence[Sequence[Instance]], claims: Sequence[frozenset[int]]
) -> Resolution:
    """Name all; beside "a man", "people" are the others, and which these are may be open."""
    sums_up = mentions[index].definite and len(mentions[index].categories) > 1
    named: set[int] = set()
    for place in _rivals(index, mentions, free):
        if not claims[place]:
            return _ambiguous(free[index], AlignmentReason.TOO_MANY_FIT)
        named |= claims[place]
    rest = tuple(item.id for item in free[index] if sums_up or item.id not in named)
    return Resolution(rest or tuple(item.id for item in free[index]), score=1.0)


def _is_contested(index: int, mentions: Sequence[Mention], free: Sequence[Sequence[Instance]]) -> bool:
    """Tell whether this mention and others that name different things ask for more than there are."""
    own = asked = mentions[index].demand or 0
    for place in _rivals(index, mentions, free):
        first, second = sorted((index, place))
        if mentions[second].is_distinct_from(mentions[first]):
            asked += mentions[place].demand or 0
    return asked > own and asked > len(free[index]) and not any(item.is_crowd for item in free[index])


def _rivals(index: int, mentions: Sequence[Mention], free: Sequence[Sequence[Instance]]) -> list[int]:
    """Give the places of the other mentions with a number that may name some of the same things."""
    ids = {item.id for item in free[index]}
    return [
        place
        for place, rival in enumerate(mentions)
        if place != index and rival.demand and any(item.id in ids for item in free[place])
    ]


def _resolve_number(demand: int, pool: Sequence[Instance]) -> Resolution:
    """Name exactly so many: a crowd region counts only where single things do not suffice."""
    singles = [item for item in pool if not item.is_crowd]
    if len(singles) > demand:
        return _ambiguous(singles, AlignmentReason.TOO_MANY_FIT)
    if len(singles) == demand:
        return Resolution(tuple(item.id for item in singles), score=1.0)
    everything = tuple(item.id for item in pool)
    if len(singles) < len(pool):
        return Resolution(everything, score=0.5, reason=AlignmentReason.CROWD_ONLY)
    return Resolution(everything, score=len(singles) / demand, reason=AlignmentReason.FEWER_THAN_SAID)


def _ambiguous(pool: Sequence[Instance], reason: AlignmentReason) -> Resolution:
    return Resolution(candidates=tuple((item.id, item.prominence) for item in pool), reason=reason)


def _weighed(
    index: int,
    mentions: Sequence[Mention],
    earlier: Sequence[Resolution],
    result: Resolution,
) -> Resolution:
    """Turn prominence into scores that add up to 1; what an earlier, different mention likely took counts less."""
    weights = dict(result.candidates)
    for place, other in enumerate(earlier):
        taken: Mapping[int, float] = {**dict(other.candidates), **dict.fromkeys(other.object_ids, 1.0)}
        if not mentions[index].is_distinct_from(mentions[place]):
            continue
        for object_id in weights.keys() & taken.keys():
            weights[object_id] *= 1.0 - 0.9 * taken[object_id]
    total = sum(weights.values())
    ranked = sorted(((object_id, round(weight / total, 6)) for object_id, weight in weights.items()), key=_by_score)
    return Resolution(candidates=tuple(ranked), score=ranked[0][1], reason=result.reason)


def _by_score(candidate: tuple[int, float]) -> tuple[float, int]:
    return -candidate[1], candidate[0]
