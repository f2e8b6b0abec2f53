"""Summary of a build, in lines. Owns the reported counts, and the hints that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datasetkit.core.ledger import DropReason
from datasetkit.core.paths import Place
from datasetkit.core.text import counted, listed
from datasetkit.export.dataset.manifest import LEDGER_NAME, Manifest
from datasetkit.export.dataset.plain_json import read_events
from datasetkit.export.statistics.statistics import Statistics

_NAMED = 100


def summary_lines(folder: Place, manifest: Manifest) -> Iterator[str]:
    """Yield the lines that ``datasetkit build`` prints at its end.

    Raises:
        BuiltFolderError: the statistics cannot be read.

    """
    tally = manifest.tally
    splits = ", ".join(f"{split} {rows:,}" for split, rows in manifest.split_rows.items()) or "none"
    yield f"records      read {tally.read['record']:,}, kept {tally.kept['record']:,} ({splits})"
    relabelled = tally.dropped["annotation"][DropReason.RELABELLED]
    if relabelled:
        yield f"replaced     {relabelled:,} masks of the source by masks of the models"
    if tally.read["annotation"] > relabelled:
        yield f"annotations  read {tally.read['annotation']:,}, kept {tally.kept['annotation']:,}"
    if tally.read["detection"]:
        yield f"detections   read {tally.read['detection']:,}, kept {tally.kept['detection']:,}"
    statistics = Statistics.read(folder)
    statuses = {status: count for status, count in statistics.total.phrase_status.items() if count}
    if statuses:
        each = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in statuses.items())
        yield f"phrases      {sum(statuses.values()):,}: {each}"
    for scope, reasons in tally.dropped.items():
        for reason, count in sorted(reasons.items()):
            if reason is not DropReason.RELABELLED:
                yield f"dropped      {counted(count, scope)}: {reason} ({reason.explanation})"
    for kind, count in sorted(tally.notices.items()):
        yield f"noticed      {counted(count, 'time')}: {kind} ({kind.explanation})"
    for item in manifest.passed_over:
        yield f"passed over  {item.count:,}: {item.kind} ({item.kind.explanation}), such as {', '.join(item.examples)}"
    if shared := statistics.shared_images:
        images = "1 image is" if shared == 1 else f"{shared:,} images are"
        yield f"noticed      {images} in several splits; --splits train=.9,test=.1 keeps equal images together"
    if later := may_pass_later(folder, manifest):
        count = sum(n for reason, n in tally.dropped["record"].items() if reason.may_pass_later)
        named = "; ".join(
            f"{reason}: {listed(names, tally.dropped['record'][DropReason(reason)])}" for reason, names in later.items()
        )
        yield f"later        {counted(count, 'record')} may succeed later ({named}): --retry-failed reads them again"
    yield f"wrote        {folder}"
    yield from (f"hint         {hint}" for hint in _hints(manifest))
    if tally.read["annotation"] and not tally.kept["annotation"] and not relabelled:
        yield "warning: no annotation was kept; do the annotation files belong to these images?"


def may_pass_later(folder: Place, manifest: Manifest) -> dict[str, list[str]]:
    """Return the dropped records that may succeed later, by reason, from the ledger; only the first of many."""
    tally = manifest.tally.dropped["record"]
    found: dict[str, list[str]] = {
        str(reason): [] for reason in sorted(tally) if reason.may_pass_later and tally[reason]
    }
    if found:
        for _, event in read_events(folder / LEDGER_NAME):
            names = found.get(str(event.get("reason"))) if event.get("scope") == "record" else None
            if names is not None and len(names) < _NAMED:
                names.append(str(event.get("id")))
    return found


def _hints(manifest: Manifest) -> Iterator[str]:
    tally, source = manifest.tally, manifest.recipe.get("source")
    if tally.dropped["record"][DropReason.NO_DESCRIPTION]:
        yield "without --require-description, images that have no description are kept"
    lacks_captions = isinstance(source, Mapping) and source.get("name") == "coco" and source.get("captions") is None
    if lacks_captions and not manifest.recipe.get("grounding"):
        yield (
            "--captions FILE adds descriptions, whose phrases are linked to the objects; --caption-with PRESET has a "
            "model write them"
        )
    if not manifest.recipe.get("grounding") and not tally.read["annotation"]:
        yield "there are no objects; --preset grounded-sam finds them with models"
