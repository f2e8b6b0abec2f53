"""The dataset card: what people, the Hub and ``load_dataset`` read first. Owns its tables.

A card is a pure function of manifest, statistics and the template ``cards/dataset_card.md.j2``. Whatever comes from the
data is escaped on its way into the text; only what is made here as Markdown goes in as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2

from datasetkit.core.ledger import SCOPES, NoticeKind
from datasetkit.core.markdown import Markdown, code, escape, fenced, number, percent, table
from datasetkit.core.schema import FIRST_VERSION
from datasetkit.core.templates import template_environment
from datasetkit.export.card.front_matter import card_schema, card_yaml, front_matter, hub_source
from datasetkit.export.card.models import (
    found_by_models,
    model_license_table,
    model_table,
    plugin_table,
    score_table,
    threshold_table,
)
from datasetkit.export.card.parts import sections_line
from datasetkit.export.card.quality import BY_DETECTIONS, BY_WORDS, LinkQuality
from datasetkit.export.card.sections import section_names
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.statistics.statistics import Statistics, Summary
from datasetkit.runtime.checkpoints import PREFIX

_TITLE, _TITLE_WITHOUT_MASKS = "Images, descriptions and key-object masks", "Images and descriptions"
_IMAGE_TITLES = {
    "categories.png": "Objects by category",
    "objects.png": "Objects per record and the share of the image that they cover",
    "phrases.png": "Phrases by status and words per description",
}
_PHRASE_STATUSES = {
    "matched": "names the objects in `object_ids`",
    "ambiguous": "may name any of `candidates`; nothing shows which for sure",
    "absent": "names something of which the record has no object",
    "not_an_object": 'names nothing that could have a mask, such as "the top" or "a view"',
}
_OBJECT_STATUSES = {
    "mentioned": "a phrase of the description names it",
    "candidate": "an ambiguous phrase may name it",
    "unmentioned": "no phrase names it",
}
_COLUMN_MEANINGS = {
    "image": 'the image; `.convert("RGB")` returns the pixels that masks were made on. Its bytes are those of the '
    "source, except where an image had to be re-encoded, which the notices count",
    "overlay": "a small copy of the image with the key objects drawn in, for viewers",
    "image_id": "the image's id in its source",
    "width": "px, upright",
    "height": "px, upright",
    "description": "the text, or null",
    "objects": "`id`, `mask` {`size` [height, width], `counts`}, `bbox`, `area` in px, `category`, `is_key`, "
    "`salience`, `is_crowd`, `status`, `scores`, `source_bbox`, `provenance` {`box`, `mask`}, `source_id`",
    "phrases": "`text`, `start`, `end`, `object_ids`, `candidates` [{`object_id`, `score`}], `score`, `status`, "
    "`reason`, `provenance`, `kind`",
    "questions": "`question`, `answer`, `type`, `options`, `object_ids`",
    "source": "`uri`, `license`, `sha256` of the image's file in the source",
    "absent_categories": "categories that were looked for and are not in the image",
    "partial_categories": "categories of which not every object in the image is marked",
    "language": "of the description, or null",
    "record_id": "unique in the dataset",
}
# What rows of schema 1.0 do not have.
_SINCE_2 = {"objects": ", `provenance` {`box`, `mask`}, `source_id`", "phrases": ", `provenance`, `kind`"}


def render_card(
    manifest: Manifest,
    statistics: Statistics,
    images: Sequence[str] = (),
    reason_meanings: Mapping[str, str] | None = None,
    title: str | None = None,
) -> str:
    """Write a dataset card.

    Args:
        manifest: of the built folder.
        statistics: of the built folder.
        images: names of the images in ``assets`` that the card shows.
        reason_meanings: what each constant in ``phrases.reason`` means, one plain sentence each.
        title: name of the dataset for people; None writes a general one.

    Returns:
        Markdown with the YAML front matter that the Hub and ``load_dataset`` read.

    """
    total = statistics.total
    quality = _quality(manifest, total)
    source_name = manifest.options["source"]["name"]
    title = title or (_TITLE if total.objects else _TITLE_WITHOUT_MASKS)
    captioned = manifest.tally.notices[NoticeKind.CAPTIONED]
    source_dataset = hub_source(manifest)
    template = _environment().from_string(
        resources.files("datasetkit.export.cards").joinpath("dataset_card.md.j2").read_text(encoding="utf-8")
    )
    card = template.render(
        front_matter=Markdown(card_yaml(front_matter(manifest, statistics, title))),
        title=title,
        manifest=manifest,
        statistics=statistics,
        total=total,
        images=images,
        image_titles=_IMAGE_TITLES,
        source_name=source_name,
        first_split=next(iter(statistics.splits), "train"),
        split_table=_split_table(statistics),
        funnel_table=_funnel_table(manifest),
        notice_table=_notice_table(manifest),
        passed_over_table=_passed_over_table(manifest),
        phrase_table=_status_table("phrase", total.phrase_status, _PHRASE_STATUSES),
        reason_table=_reason_table(total, reason_meanings or {}),
        object_table=_status_table("object", total.object_status, _OBJECT_STATUSES),
        quality=quality,
        quality_table=_quality_table(quality) if quality else "",
        has_detections=_has_detections(manifest),
        model_table=model_table(manifest),
        model_license_table=model_license_table(manifest),
        plugin_table=plugin_table(manifest),
        threshold_table=threshold_table(manifest.recipe, captioned=bool(captioned)),
        score_table=score_table(total.scores),
        knows_scenes_only=any(model.id.startswith(PREFIX) for model in manifest.models),  # the shipped ones
        captioned=captioned,
        found_by_models=found_by_models(manifest),
        has_captioner=any(model.role == "captioner" for model in manifest.models),
        recaptions=(manifest.options["grounding"] or {}).get("recaption", False),
        key_max=manifest.options["key_max"],
        column_table=_column_table(manifest),
        license_table=table(["license", "records"], [[name, number(n)] for name, n in total.licenses.items()]),
        recipe=fenced(card_yaml(manifest.recipe), "yaml"),
        source_dataset=source_dataset,
        citation=fenced(_citation(manifest, title, source_dataset), "bibtex"),
    )
    return f"{card.rstrip()}\n\n{sections_line(section_names(card))}\n"


def _has_detections(manifest: Manifest) -> bool:
    """Whether objects were detected here, rather than given."""
    return bool(manifest.tally.read["detection"])


def _quality(manifest: Manifest, total: Summary) -> LinkQuality | None:
    """Return what was measured of links of this kind; None without links, and for toyworld's exact ones."""
    if not total.links:
        return None
    if _has_detections(manifest):
        return BY_DETECTIONS
    return None if manifest.options["source"]["name"] == "toyworld" else BY_WORDS


def _quality_table(quality: LinkQuality) -> Markdown:
    header = ["measure", "value", "95 % interval", "n"]
    rows = [
        ("precision: of the links that were made, those that are right", quality.precision, quality.precision_95),
        ("recall: of the links that the labels have, those that were made", quality.recall, quality.recall_95),
    ]
    counts = (quality.predicted, quality.labelled)
    return table(
        header,
        [
            [what, f"{value:.2f}", f"{low:.2f} to {high:.2f}", number(n)]
            for (what, value, (low, high)), n in zip(rows, counts, strict=True)
        ],
    )


def _citation(manifest: Manifest, title: str, source_dataset: str | None) -> str:
    built = f"Built with datasetkit {manifest.code_version} from the source {manifest.source_fingerprint[:12]}"
    note = built if source_dataset is None else f"{built}, {source_dataset} on the Hugging Face Hub"
    fields = [f"  {name} = {{{_bibtex(text)}}}," for name, text in (("title", title), ("note", note))]
    return "\n".join(["@misc{dataset,", *fields, "}"])


def _bibtex(text: str) -> str:
    """Spell text for a BibTeX field, whose braces must balance."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\]", " ", " ".join(text.split())))


def _environment() -> jinja2.Environment:
    # finalize escapes everything that data brings
    environment = template_environment(html=False, keep_trailing_newline=True, finalize=escape)
    environment.filters.update(number=number, code=code)
    return environment


def _split_table(statistics: Statistics) -> Markdown:
    columns = ["records", "pictures", "described", "objects", "key_objects", "phrases", "links", "questions"]
    names = {"pictures": "images"}  # the statistics keep their former spelling
    header = ["split", *(names.get(name, name).replace("_", " ") for name in columns), "size"]
    summaries = dict(statistics.splits)
    if len(summaries) > 1:
        summaries["all"] = statistics.total
    return table(
        header,
        [
            [name, *(number(getattr(item, column)) for column in columns), f"{item.num_bytes / 1e6:,.1f} MB"]
            for name, item in summaries.items()
        ],
    )


def _funnel_table(manifest: Manifest) -> Markdown:
    tally = manifest.tally
    scopes = [scope for scope in SCOPES if scope != "detection" or tally.read[scope]]
    reasons = sorted({reason for scope in scopes for reason in tally.dropped[scope]})
    rows: list[list[object]] = [["read", *(number(tally.read[scope]) for scope in scopes), ""]]
    for reason in reasons:
        counts = [number(tally.dropped[scope][reason]) for scope in scopes]
        rows.append([Markdown(f"dropped: {code(reason)}"), *counts, reason.explanation])
    rows.append(["kept", *(number(tally.kept[scope]) for scope in scopes), ""])
    return table(["", *(f"{scope}s" for scope in scopes), "meaning"], rows)


def _notice_table(manifest: Manifest) -> Markdown:
    notices = manifest.tally.notices
    return table(
        ["notice", "times", "meaning"],
        [[code(kind), number(notices[kind]), kind.explanation] for kind in sorted(notices) if notices[kind]],
    )


def _passed_over_table(manifest: Manifest) -> Markdown:
    rows = [
        [code(item.kind), number(item.count), ", ".join(item.examples), item.kind.explanation]
        for item in manifest.passed_over
    ]
    return table(["passed over", "count", "such as", "meaning"], rows)


def _status_table(what: str, counts: Mapping[str, int], meanings: Mapping[str, str]) -> Markdown:
    total = sum(counts.values())
    return table(
        [f"{what} status", f"{what}s", "share", "meaning"],
        [
            [code(status), number(count), percent(count, total), Markdown(meanings[status])]
            for status, count in counts.items()
        ],
    )


def _reason_table(total: Summary, meanings: Mapping[str, str]) -> Markdown:
    return table(
        ["status", "reason", "phrases", "meaning"],
        [
            [code(status), code(reason), number(count), meanings.get(reason, "")]
            for status, reasons in total.phrase_reasons.items()
            for reason, count in reasons.items()
        ],
    )


def _column_table(manifest: Manifest) -> Markdown:
    meanings = dict(_COLUMN_MEANINGS)
    if manifest.schema_version == FIRST_VERSION:
        meanings = {name: meaning.removesuffix(_SINCE_2.get(name, "")) for name, meaning in meanings.items()}
    names = card_schema(manifest).names
    return table(["column", "what it holds"], [[code(name), Markdown(meanings[name])] for name in names])
