"""Which objects the mentions of one description name, from words, categories and counts alone.

Owns the decisions; it looks at no pixels. In short:

- a plural without a number ("cats", "a group of people") names all, crowd regions too;
- a number names exactly so many: with more in the picture it is ambiguous, with fewer it names those there are;
- a singular names the only one there is, and is ambiguous where there are several;
- two mentions that must be different things ("a man and a woman") are both ambiguous, also where one is there;
- "another", "other" and hypernyms leave out what the other mentions already name.
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
    pools = [_without_claimed(index, mentions, pools) for index in range(len(mentions))]
    contested = [_is_contested(index, mentions, pools) for index in range(len(mentions))]
    results: list[Resolution] = []
    for index, mention in enumerate(mentions):
        result = _resolve_one(mention, pools[index], contested=contested[index])
        if result.candidates:
            result = _weigh(index, mentions, results, result)
        results.append(result)
    return results


def _without_claimed(index: int, mentions: Sequence[Mention], pools: Sequence[Sequence[Instance]]) -> list[Instance]:
    """Leave out what mentions of other nouns name for certain, where this one names something else."""
    mention = mentions[index]
    vague = len(mention.categories) > 1 and not mention.definite and mention.demand is not None
    if not (vague or mention.other):
        return list(pools[index])
    claimed = set()
    for place, rival in enumerate(mentions):
        if place == index or rival.other or (rival.entry == mention.entry and not mention.other):
            continue
        if vague and len(rival.categories) > 1:
            continue
        if rival.demand is None and not mention.other:
            continue
        singles = [item.id for item in pools[place] if not item.is_crowd]
        if rival.demand is None or len(singles) <= rival.demand:
            claimed |= {item.id for item in pools[place]}
    return [item for item in pools[index] if item.id not in claimed]


def _is_contested(index: int, mentions: Sequence[Mention], pools: Sequence[Sequence[Instance]]) -> bool:
    """Tell whether this mention and others that name different things ask for more than there are."""
    mention, pool = mentions[index], {item.id for item in pools[index]}
    if mention.demand is None or any(item.is_crowd for item in pools[index]):
        return False
    asked = mention.demand
    for place, rival in enumerate(mentions):
        if place == index or rival.demand is None or not pool & {item.id for item in pools[place]}:
            continue
        first, second = (mention, rival) if index < place else (rival, mention)
        if second.is_distinct_from(first):
            asked += rival.demand
    return asked > mention.demand and asked > len(pool)


def _resolve_one(mention: Mention, pool: Sequence[Instance], *, contested: bool) -> Resolution:
    if mention.demand == 0:
        return Resolution(reason=AlignmentReason.NEGATED)
    if not pool:
        return Resolution(reason=AlignmentReason.NO_INSTANCE)
    singles = [item for item in pool if not item.is_crowd]
    everything = tuple(item.id for item in pool)
    if mention.demand is None:
        return Resolution(everything, score=1.0)
    if contested:
        return _ambiguous(pool, AlignmentReason.CONTESTED)
    if len(singles) > mention.demand:
        return _ambiguous(singles, AlignmentReason.TOO_MANY_FIT)
    if len(singles) == mention.demand:
        return Resolution(tuple(item.id for item in singles), score=1.0)
    if len(singles) < len(pool):
        return Resolution(everything, score=0.5, reason=AlignmentReason.CROWD_ONLY)
    return Resolution(everything, score=len(singles) / mention.demand, reason=AlignmentReason.FEWER_THAN_SAID)


def _ambiguous(pool: Sequence[Instance], reason: AlignmentReason) -> Resolution:
    return Resolution(candidates=tuple((item.id, item.prominence) for item in pool), reason=reason)


def _weigh(
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
