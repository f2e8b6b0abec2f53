"""What the entries of a data set have, in numbers. Owns the counts, their words, and which texts are repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from datasetkit.core.given import GivenImage, GivenText
from datasetkit.core.ledger import DropReason, PassedOverKind

_WORDS = {
    "entry": "entries: {:,}",
    "unusable entry": "unusable entries: {:,}",
    "text": "texts: {:,}",
    "mask": "masks: {:,}",
    "box without mask": "boxes without a mask: {:,}",
    "object of points": "objects with points only: {:,}",
    "span": "spans: {:,}",
    "linked span": "linked spans: {:,}",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an entry cannot be used."""

    reason: DropReason
    detail: str


@dataclass(slots=True)
class Survey:
    """Counts of all entries.

    Args:
        records: what becomes a record, or is dropped.
        counts: of entries, texts, objects by what is known of them, spans with and without objects.
        passed_over: what no record can hold, by kind and name.

    """

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[tuple[PassedOverKind, str]] = field(default_factory=Counter)

    def add(self, image: GivenImage | Fault, texts: Sequence[object]) -> None:
        """Count one entry, of which each of ``texts`` becomes a record."""
        self.records += len(texts)
        if isinstance(image, Fault):
            self.counts["unusable entry"] += 1
            return
        self.counts["entry"] += 1
        self.counts["text"] += len(image.texts)
        for item in image.objects:
            known = "mask" if item.mask is not None else "box without mask" if item.box_xywh else "object of points"
            self.counts[known] += 1
        for text in image.texts:
            self.counts["span"] += len(text.phrases)
            self.counts["linked span"] += sum(bool(phrase.objects) for phrase in text.phrases)
        self.passed_over.update(image.passed_over)

    def __str__(self) -> str:
        """Return the counts in words, on one line."""
        found = [_WORDS[name].format(count) for name, count in self.counts.items() if count]
        passed_over = sum(self.passed_over.values())
        return ", ".join(found + ([f"passed over: {passed_over:,}"] if passed_over else [])) or "no entries"


def without_repeats(texts: Sequence[GivenText]) -> list[int]:
    """Return the numbers of the texts that are not blank and do not repeat an earlier one."""
    first = {text.text.strip(): number for number, text in reversed([*enumerate(texts)])}
    return sorted(number for words, number in first.items() if words)


def is_repeated(texts: Sequence[GivenText], chosen: Sequence[GivenText]) -> bool:
    """Return whether one of the chosen texts is among the texts several times."""
    words = Counter(text.text.strip() for text in texts)
    return any(words[text.text.strip()] > 1 for text in chosen if text.text.strip())
