"""The dataset card: what a person, the Hub and ``load_dataset`` read first. Owns its front matter and tables.

A card is a pure function of manifest, statistics and the template ``cards/dataset_card.md.j2``. Whatever comes from the
data is escaped on its way into the text; only what is made here as Markdown goes in as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import pyarrow as pa
import yaml

from datasetkit.errors import BuiltFolderError
from datasetkit.ledger import SCOPES, NoticeKind
from datasetkit.schema import row_schema
from export.card_models import knows_scenes_only, model_table, score_table, threshold_table
from export.licenses import card_license
from export.manifest import DATA_FOLDER, LICENSE_NAME, Manifest
from export.markdown import Markdown, code, escape, fenced, number, percent, table
from export.statistics import Statistics, Summary

_TITLE = "Pictures, descriptions and key-object masks"
_PICTURE_TITLES = {
    "categories.png": "Objects by category",
    "objects.png": "Objects per record and the share of the picture that they cover",
    "phrases.png": "Phrases by status and words per description",
}
_PHRASE_STATUSES = {
    "matched": "names the objects in `object_ids`",
    "ambiguous": "may name any of `candidates`; nothing tells which for sure",
    "absent": "names something of which the record has no object",
    "not_an_object": 'names nothing that could have a mask, such as "the top" or "a view"',
}
_OBJECT_STATUSES = {
    "mentioned": "a phrase of the description names it",
    "candidate": "an ambiguous phrase may name it",
    "unmentioned": "no phrase names it",
}
_COLUMN_MEANINGS = {
    "image": "the picture, bytes as they came (upright: re-encoded only where EXIF turns it)",
    "overlay": "a small picture with the key objects drawn in, for viewers",
    "image_id": "the picture's id in its source",
    "width": "px, upright",
    "height": "px, upright",
    "description": "the text, or null",
    "objects": "`id`, `mask` {`size` [height, width], `counts`}, `bbox`, `area` in px, `category`, `is_key`, "
    "`salience`, `is_crowd`, `status`, `scores`, `source_bbox`",
    "phrases": "`text`, `start`, `end`, `object_ids`, `candidates` [{`object_id`, `score`}], `score`, `status`, "
    "`reason`",
    "questions": "`question`, `answer`, `type`, `options`, `object_ids`",
    "source": "`uri`, `license`, `sha256` of the picture's file as it came",
    "record_id": "unique in the dataset",
}
_SIZE_CATEGORIES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")


def render_card(
    manifest: Manifest,
    statistics: Statistics,
    pictures: Sequence[str] = (),
    reason_meanings: Mapping[str, str] | None = None,
    title: str | None = None,
) -> str:
    """Write a dataset card.

    Args:
        manifest: of the built folder.
        statistics: of the built folder.
        pictures: file names in its ``assets`` that the card shows.
        reason_meanings: what the constants in ``phrases.reason`` mean, one plain sentence each.
        title: the dataset's name for people; None gives a general one.

    Returns:
        Markdown with the YAML front matter that the Hub and ``load_dataset`` read.

    """
    total = statistics.total
    title = title or _TITLE
    template = _environment().from_string(
        resources.files("export.cards").joinpath("dataset_card.md.j2").read_text(encoding="utf-8")
    )
    return template.render(
        front_matter=Markdown(_yaml(_front_matter(manifest, statistics, title))),
        title=title,
        manifest=manifest,
        statistics=statistics,
        total=total,
        pictures=pictures,
        picture_titles=_PICTURE_TITLES,
        source_name=manifest.recipe["source"]["name"],
        first_split=next(iter(statistics.splits), "train"),
        split_table=_split_table(statistics),
        funnel_table=_funnel_table(manifest),
        notice_table=_notice_table(manifest),
        phrase_table=_status_table("phrase", total.phrase_status, _PHRASE_STATUSES),
        reason_table=_reason_table(total, reason_meanings or {}),
        object_table=_status_table("object", total.object_status, _OBJECT_STATUSES),
        model_table=model_table(manifest),
        threshold_table=threshold_table(manifest.recipe),
        score_table=score_table(total.scores),
        knows_scenes_only=knows_scenes_only(manifest),
        captioned=manifest.tally.notices[NoticeKind.CAPTIONED],
        column_table=_column_table(manifest),
        license_table=table(["license", "records"], [[name, number(n)] for name, n in total.licenses.items()]),
        recipe=fenced(_yaml(manifest.recipe), "yaml"),
    )


def features_yaml(schema: pa.Schema) -> list[dict[str, Any]]:
    """Spell a row's feature types as ``datasets`` writes them into a card."""
    return [_feature(field.name, field.type) for field in schema]


def _feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    if name in {"image", "overlay"}:
        return {"name": name, "dtype": "image"}
    if pa.types.is_struct(kind):
        return {"name": name, "struct": [_feature(field.name, field.type) for field in kind]}
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return {"name": name, "list": [_feature(field.name, field.type) for field in kind.value_type]}
    if pa.types.is_list(kind):
        return {"name": name, "list": _dtype(kind.value_type)}
    return {"name": name, "dtype": _dtype(kind)}


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def _front_matter(manifest: Manifest, statistics: Statistics, title: str) -> dict[str, Any]:
    total = statistics.total
    tasks = {
        "image-segmentation": total.objects,
        "object-detection": total.objects,
        "image-to-text": total.described,
        "visual-question-answering": total.questions,
    }
    front: dict[str, Any] = {"pretty_name": title, **card_license(total.licenses, LICENSE_NAME)}
    front["task_categories"] = [task for task, count in tasks.items() if count]
    front["tags"] = ["datasetkit", *(["phrase-grounding"] if total.links else [])]
    magnitude = len(str(total.records)) - 3
    front["size_categories"] = [_SIZE_CATEGORIES[min(max(magnitude, 0), len(_SIZE_CATEGORIES) - 1)]]
    splits = [
        {"name": name, "num_bytes": item.num_bytes, "num_examples": item.records}
        for name, item in statistics.splits.items()
    ]
    front["dataset_info"] = {
        "features": features_yaml(_schema(manifest)),
        "splits": splits,
        "download_size": sum(shard.bytes for shard in manifest.shards),
        "dataset_size": total.num_bytes,
    }
    files = [{"split": name, "path": f"{DATA_FOLDER}/{name}-*.parquet"} for name in statistics.splits]
    front["configs"] = [{"config_name": "default", "data_files": files}]
    return front


def _schema(manifest: Manifest) -> pa.Schema:
    return row_schema(overlay=manifest.recipe["overlay"])


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=120)


def read_front_matter(card: str) -> Mapping[str, Any]:
    """Read a card's YAML.

    Raises:
        BuiltFolderError: the card does not begin with a mapping between two lines of ``---``.

    """
    lines = card.split("\n")
    try:
        end = lines.index("---", 1)
        value = yaml.safe_load("\n".join(lines[1:end])) if lines[0] == "---" else None
    except (ValueError, IndexError, yaml.YAMLError) as error:
        raise BuiltFolderError(f"the card has no readable front matter: {escape(error)}") from error
    if not isinstance(value, Mapping):
        raise BuiltFolderError("the card has no front matter: it must begin with YAML between two lines of ---")
    return value


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=escape,
        autoescape=False,  # noqa: S701 - the text is Markdown: finalize escapes everything that data brings
    )
    environment.filters.update(number=number, code=code)
    return environment


def _split_table(statistics: Statistics) -> Markdown:
    columns = ["records", "pictures", "described", "objects", "key_objects", "phrases", "links", "questions"]
    header = ["split", *(name.replace("_", " ") for name in columns), "size"]
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
        ["notice", "records", "meaning"],
        [[code(kind), number(notices[kind]), kind.explanation] for kind in sorted(notices) if notices[kind]],
    )


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
    names = _schema(manifest).names
    return table(["column", "what it holds"], [[code(name), Markdown(_COLUMN_MEANINGS[name])] for name in names])
