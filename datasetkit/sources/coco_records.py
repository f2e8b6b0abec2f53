"""What datasetkit's COCO export stores beyond COCO. Owns its keys, and how objects, phrases and questions are restored.

An annotation is recognised by all of these keys, a caption by ``record_id`` and ``phrases``, an image by ``source_id``
and ``source``. People edit such files: what no longer fits is left out, with a reason, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from datasetkit.core.label_map import UNNAMED
from datasetkit.core.record import (
    Candidate,
    KeyObject,
    Linker,
    Maker,
    ObjectProvenance,
    ObjectStatus,
    Phrase,
    PhraseKind,
    PhraseStatus,
    Provenance,
    Question,
    Record,
    Scores,
)
from datasetkit.sources.coco_values import spelled

_OBJECT_KEYS = frozenset({"is_key", "status", "salience", "scores", "source_bbox"})
_KEYS = {
    "images": frozenset({"source_id", "source"}),
    "annotations": _OBJECT_KEYS | {"source_id", "provenance", "category"},
    "captions": frozenset({"record_id", "phrases", "questions", "language", "objects"}),
}
# Raised by values of another type or that contradict each other.
UNFIT = (AttributeError, LookupError, TypeError, ValueError)
Json = Mapping[str, Any]
_T = TypeVar("_T")


def is_own_image(image: Json) -> bool:
    """Return whether datasetkit exported an image."""
    return isinstance(image.get("source_id"), str) and isinstance(image.get("source"), Mapping)


def is_own_annotation(annotation: Json) -> bool:
    """Return whether datasetkit exported an annotation."""
    return annotation.keys() >= _OBJECT_KEYS


def is_own_caption(caption: Json) -> bool:
    """Return whether datasetkit exported a caption."""
    return bool(spelled(caption.get("record_id"))) and isinstance(caption.get("phrases"), list)


def own_keys(key: str, value: Json, *, links: bool) -> frozenset[str]:
    """Return the keys of an element that are read in addition to COCO's.

    Args:
        key: key of the list that contains it.
        value: the element.
        links: whether there are annotations that phrases can name.

    """
    if key == "images":
        return _KEYS[key] if is_own_image(value) else frozenset()
    if is_own_annotation(value):
        return _KEYS["annotations"]
    if is_own_caption(value):
        return _KEYS["captions"] - (frozenset() if links else {"phrases", "objects"})
    return frozenset()


def provenance_of(image: Json, plain: Provenance) -> Provenance:
    """Return an image's origin.

    Raises:
        one of UNFIT: it is invalid.

    """
    return replace(plain, uri=str(image["source"]["uri"]), sha256=image["source"]["sha256"])


def own_name(image: Json) -> str | None:
    """Return the name of an image that could not be its file's name in the export; None if it is the file's name."""
    source = image.get("source")
    name = source.get("path") if is_own_image(image) and isinstance(source, Mapping) else None
    is_name = isinstance(name, str) and "\\" not in name and {"", ".", ".."}.isdisjoint(name.split("/"))
    return name if is_name else None


def object_of(item: KeyObject, said: Json) -> KeyObject:
    """Add to an object what an annotation, or a caption's ``objects``, says about it.

    Raises:
        one of UNFIT: the values contradict each other.

    """
    changes: dict[str, Any] = {}
    if "is_key" in said:
        changes["is_key"] = _of_type(said["is_key"], bool)
    if "status" in said:
        changes["status"] = ObjectStatus(said["status"])
    if "salience" in said:
        changes["salience"] = _number(said["salience"])
    if "scores" in said:
        changes["scores"] = Scores(**{name: _number(score) for name, score in said["scores"].items()})
    if "source_bbox" in said:
        box = said["source_bbox"]
        changes["source_bbox"] = None if box is None else tuple(map(float, box))
    if "provenance" in said:
        makers = said["provenance"]
        changes["provenance"] = ObjectProvenance(
            **{name: None if maker is None else Maker(maker) for name, maker in makers.items()}
        )
    if "source_id" in said:
        changes["source_id"] = spelled(said["source_id"])
    if item.category == UNNAMED and "category" in said and said["category"] is None:
        changes["category"] = None
    return replace(item, **changes) if changes else item


def listed_objects(caption: Json, others: Sequence[Json], annotation_ids: Sequence[str]) -> dict[str, Json] | None:
    """Return a record's annotations among those of its image, with what its caption says about each; None for all.

    Args:
        caption: the record's caption.
        others: all captions of the image.
        annotation_ids: of the image; one that no caption lists was added by hand, and belongs to every record.

    """
    own = _listed(caption)
    if own is None:
        return None
    elsewhere = {one for other in others for one in (_listed(other) or annotation_ids)}
    known = {*annotation_ids}
    found = {one: said for one, said in own.items() if one in known}
    return found | {one: {} for one in annotation_ids if one not in elsewhere}


def _listed(caption: Json) -> dict[str, Json] | None:
    objects = caption.get("objects")
    if not is_own_caption(caption) or not isinstance(objects, list):
        return None
    return {str(spelled(said.get("annotation_id"))): said for said in objects if isinstance(said, Mapping)}


@dataclass(frozen=True, slots=True)
class Links:
    """What a caption says about its record.

    Args:
        phrases: those that fit.
        questions: those that fit.
        faults: why others do not, one text each.
        are_given: whether the phrases are used; not if there are several and none fits, for example because the caption
            was rewritten.

    """

    phrases: tuple[Phrase, ...]
    questions: tuple[Question, ...]
    faults: tuple[str, ...]
    are_given: bool


def links_of(caption: Json, text: str | None, ids: Mapping[str, int], *, has_links: bool) -> Links:
    """Read phrases and questions.

    Args:
        caption: one that datasetkit exported.
        text: the description.
        ids: object ids by annotation id.
        has_links: whether there are annotations; without them, questions name no objects and phrases are not read.

    """
    faults: list[str] = []
    wanted = caption["phrases"] if has_links else []
    phrases = list(
        _fitting(wanted, lambda value, problems: _phrase(value, text or "", ids, problems), "phrase", faults)
    )
    known = ids if has_links else None
    questions = list(
        _fitting(
            caption.get("questions") or [],
            lambda value, problems: _question(value, known, problems),
            "question",
            faults,
        )
    )
    return Links(
        tuple(sorted(phrases, key=lambda phrase: phrase.start)),
        tuple(questions),
        tuple(faults),
        has_links and (bool(phrases) or not wanted),
    )


def contradicts_links(record: Record) -> bool:
    """Return whether the objects contradict the phrases."""
    mentioned = {one for phrase in record.phrases for one in phrase.object_ids}
    candidates = {candidate.object_id for phrase in record.phrases for candidate in phrase.candidates}
    return any(
        item.status
        is not (
            ObjectStatus.MENTIONED
            if item.id in mentioned
            else ObjectStatus.CANDIDATE
            if item.id in candidates
            else ObjectStatus.UNMENTIONED
        )
        for item in record.objects
    )


def _fitting(values: Any, read: Callable[[Any, list[str]], _T], what: str, faults: list[str]) -> Iterator[_T]:
    """Read the values that fit; also report the faults of values that fit in part."""
    for number, value in enumerate(values if isinstance(values, list) else []):
        problems: list[str] = []
        try:
            yield read(value, problems)
        except UNFIT as error:
            problems = [f"{error} is missing" if isinstance(error, KeyError) else str(error)]
        faults += [f"{what} {number}: {one}" for one in problems]


def _phrase(value: Json, text: str, ids: Mapping[str, int], problems: list[str]) -> Phrase:
    """Read a phrase; its status follows from the annotations that it names, whatever it was before.

    Raises:
        one of UNFIT: it is not a phrase, or none of the annotations that it names exists.

    """
    start, end = _of_type(value["start"], int), _of_type(value["end"], int)
    words = value.get("text", text[start:end])
    if not 0 <= start < end <= len(text) or text[start:end] != words:
        raise ValueError(f"characters {start} to {end} of the caption are not {words!r}")
    named = _object_ids(value["annotation_ids"], ids, problems)
    candidates = tuple(
        Candidate(_object_id(one["annotation_id"], ids), _number(one["score"])) for one in value.get("candidates") or ()
    )
    before = PhraseStatus(value.get("status") or PhraseStatus.ABSENT)
    status = PhraseStatus.MATCHED if named else before
    if not named and before is PhraseStatus.MATCHED:
        status = PhraseStatus.AMBIGUOUS if candidates else PhraseStatus.ABSENT
    is_same = status is before
    linker, reason = value.get("provenance"), value.get("reason")
    return Phrase(
        words,
        start,
        end,
        named,
        candidates if status is PhraseStatus.AMBIGUOUS else (),
        _number(value.get("score")) if is_same else None,
        status,
        _of_type(reason, str) if is_same and reason is not None else None,
        None if linker is None else Linker(linker),
        PhraseKind(value.get("kind") or ("pronoun" if value.get("reason") == "pronoun" else "noun")),
    )


def _question(value: Json, ids: Mapping[str, int] | None, problems: list[str]) -> Question:
    named = () if ids is None else _object_ids(value.get("annotation_ids") or [], ids, problems)
    question, answer, kind = (_of_type(value[name], str) for name in ("question", "answer", "type"))
    return Question(question, answer, kind, tuple(_of_type(one, str) for one in value.get("options") or ()), named)


def _object_ids(values: object, ids: Mapping[str, int], problems: list[str]) -> tuple[int, ...]:
    """Return the objects of annotations, each once; add annotations that do not exist to ``problems``.

    Raises:
        ValueError: annotations are named, but none of them exists.

    """
    found: dict[int, None] = {}
    for value in _of_type(values, list):
        try:
            found[_object_id(value, ids)] = None
        except ValueError as error:
            problems.append(str(error))
    if problems and not found:
        raise ValueError(problems[0])
    return tuple(found)


def _object_id(value: object, ids: Mapping[str, int]) -> int:
    try:
        return ids[str(spelled(value))]
    except KeyError:
        raise ValueError(f"annotation {value!r} is not one of the image's objects") from None


def _number(value: object) -> float | None:
    """Return a number, or None if it is None."""
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise TypeError(f"{value!r} must be a number")
    return value


def _of_type(value: object, kind: type[_T]) -> _T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} must be of type {kind.__name__}")
    return value
