"""The manifest: contents and origin of a built folder. Owns ``manifest.json`` and all file names in the folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.documents import load_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import write_json
from datasetkit.core.label_map import LabelMap, read_label_map
from datasetkit.core.ledger import PassedOver, Tally
from datasetkit.core.paths import Place
from datasetkit.core.schema import check_version
from datasetkit.core.text import is_split_name, one_line
from datasetkit.export.dataset.plain_json import items, require_counts, require_levels, require_text
from datasetkit.options import Recipe
from datasetkit.runtime.registry import Origin

MANIFEST_NAME = "manifest.json"
STATISTICS_NAME = "statistics.json"
LEDGER_NAME = "ledger.jsonl"
RECIPE_NAME = "recipe.yaml"
CARD_NAME = "README.md"
LICENSE_NAME = "LICENSE"
PAPERS = (CARD_NAME, MANIFEST_NAME, LEDGER_NAME, STATISTICS_NAME, RECIPE_NAME)  # every built folder has them
DATA_FOLDER = "data"
ASSETS_FOLDER = "assets"
_SHARD_NAME = re.compile(rf"{DATA_FOLDER}/[^/]+-\d{{5}}-of-\d{{5}}\.parquet")
IMAGES = ("samples.jpg", "categories.png", "objects.png", "phrases.png")  # drawn files, in the order of the card


_FIX = "rebuild with --overwrite, or give another folder"


def shard_path(split: str, index: int, count: int) -> str:
    """Return the path of a shard, relative to the built folder, as the Hub and ``load_dataset`` expect it."""
    return f"{DATA_FOLDER}/{split}-{index:05d}-of-{count:05d}.parquet"


def split_rank(split: str) -> tuple[bool, str]:
    """Return the sort key of splits: ``train`` first, then by name."""
    return split != "train", split


def is_shard_name(path: str) -> bool:
    """Whether a path, relative to the built folder, is that of a shard."""
    return _SHARD_NAME.fullmatch(path) is not None


def is_generated_name(path: str) -> bool:
    """Whether a path, relative to the built folder, is that of an image for the card or of the list of licenses."""
    return path == LICENSE_NAME or path in {f"{ASSETS_FOLDER}/{name}" for name in IMAGES}


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a built folder.

    Args:
        path: path relative to the folder, ``/`` between parts.
        sha256: hex digest of the bytes.

    """

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        require_text(path=self.path, split=self.split, sha256=self.sha256)
        require_counts(self.rows, self.bytes)


@dataclass(frozen=True, slots=True)
class Part:
    """Result of one run of consecutive entries of the source: the unit of resuming.

    Args:
        index: index in the source, from 0.
        shards: at most one per split.

    """

    index: int
    shards: tuple[Shard, ...]
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain JSON."""
        return {"index": self.index, "shards": [asdict(shard) for shard in self.shards], "tally": self.tally.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Part:
        """Read what :meth:`to_json` wrote."""
        shards = tuple(Shard(**shard) for shard in items(value["shards"]))
        require_counts(value["index"])
        return cls(value["index"], shards, _read_tally(value["tally"]))


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that readers need to check and rebuild a built folder.

    Args:
        source_fingerprint: hex digest of the index of the source.
        recipe: the resolved recipe, paths reduced to their last component.
        parts: parts, in the order of the source.
        stray: counts of annotations that belong to no entry of the source.
        models: weights that found and linked the objects; empty if no model was used.
        plugins: plug-ins in use, with their distributions; they are never imported from here.
        passed_over: what the source has but does not read.
        files: files drawn or written for the card, relative to the folder, ``/`` between parts; apart from the shards,
            only these depend on the data.
        label_map: categories of the source, unchanged; empty if it has no such list.

    """

    schema_version: str
    code_version: str
    source_fingerprint: str
    recipe: Mapping[str, Any]
    parts: tuple[Part, ...]
    stray: Tally
    models: tuple[ModelIdentity, ...] = ()
    files: tuple[str, ...] = ()
    plugins: tuple[Origin, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    label_map: LabelMap = ()

    @property
    def options(self) -> dict[str, Any]:
        """Options of the recipe; options that are newer than the build have the values that describe it."""
        return Recipe.completed(self.recipe)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Every shard, split by split (see :func:`split_rank`), in order of their number."""
        shards = [shard for part in self.parts for shard in part.shards]
        return tuple(sorted(shards, key=lambda shard: (split_rank(shard.split), shard.path)))

    @property
    def split_rows(self) -> dict[str, int]:
        """Number of records per split, in the order of the shards."""
        rows: dict[str, int] = {}
        for shard in self.shards:
            rows[shard.split] = rows.get(shard.split, 0) + shard.rows
        return rows

    @property
    def tally(self) -> Tally:
        """Total counts of what was read, kept and dropped."""
        total = Tally()
        for part in self.parts:
            total.update(part.tally)
        total.update(self.stray)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON, with splits and tally, which follow from the parts, for readers."""
        return {
            "schema_version": self.schema_version,
            "code_version": self.code_version,
            "source_fingerprint": self.source_fingerprint,
            "splits": self.split_rows,
            "tally": self.tally.to_json(),
            "parts": [part.to_json() for part in self.parts],
            "stray": self.stray.to_json(),
            "passed_over": [item.to_json() for item in self.passed_over],
            "models": [asdict(model) for model in self.models],
            "plugins": [asdict(plugin) for plugin in self.plugins],
            "files": list(self.files),
            "label_map": [category.to_json() for category in self.label_map],
            "recipe": self.recipe,
        }

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``; equal manifests give equal bytes."""
        write_json(folder / MANIFEST_NAME, self.to_json())

    @classmethod
    def read(cls, folder: Place) -> Manifest:
        """Read the manifest of a built folder.

        Raises:
            BuiltFolderError: there is no manifest, or datasetkit did not write it.

        """
        path = folder / MANIFEST_NAME
        try:
            value = load_json(path.read_bytes())
            require_text(**{name: value[name] for name in ("schema_version", "code_version", "source_fingerprint")})
            check_version(value["schema_version"], path)
            return cls(
                schema_version=value["schema_version"],
                code_version=value["code_version"],
                source_fingerprint=value["source_fingerprint"],
                recipe=_read_recipe(value["recipe"]),
                parts=_read_parts(value["parts"]),
                stray=_read_tally(value["stray"]),
                models=read_models(value["models"]),
                files=_read_files(value["files"]),
                plugins=read_plugins(value.get("plugins", [])),
                passed_over=_read_passed_over(value.get("passed_over", [])),
                label_map=read_label_map(value.get("label_map", [])),  # versions before 0.4 had none
            )
        except FileNotFoundError:
            raise BuiltFolderError(
                f"{folder} has no {MANIFEST_NAME}; give a folder that `datasetkit build` finished"
            ) from None
        except KeyError as error:
            raise BuiltFolderError(f"{path} is not a manifest of datasetkit: {error} is missing; {_FIX}") from error
        except BuiltFolderError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise BuiltFolderError(f"{path} is not a manifest of datasetkit: {one_line(error)}; {_FIX}") from error


def read_models(values: Sequence[Mapping[str, Any]]) -> tuple[ModelIdentity, ...]:
    """Read identities of models from plain JSON.

    Raises:
        TypeError: they are not of that form.

    """
    models = tuple(ModelIdentity(**value) for value in items(values))
    for model in models:
        if not (isinstance(model.role, str) and isinstance(model.id, str)):
            raise TypeError(f"role and id of a model must be text: {model}")
        if not all(isinstance(item, str | None) for item in (model.revision, model.sha256)):
            raise TypeError(f"revision and sha256 of a model must be text or null: {model}")
    return models


def read_plugins(values: Sequence[Mapping[str, Any]]) -> tuple[Origin, ...]:
    """Read the origins of plug-ins from plain JSON; versions before 0.2 had none.

    Raises:
        TypeError: they are not of that form.

    """
    plugins = tuple(Origin(**value) for value in items(values))
    for plugin in plugins:
        require_text(kind=plugin.kind, name=plugin.name, path=plugin.path)
        if not all(isinstance(text, str | None) for text in (plugin.distribution, plugin.version, plugin.sha256)):
            raise TypeError(f"distribution, version and sha256 of a plug-in must be text or null: {plugin}")
    return plugins


def _read_passed_over(values: Sequence[Mapping[str, Any]]) -> tuple[PassedOver, ...]:
    """Read what was passed over; versions before 0.3 did not count it."""
    found = tuple(map(PassedOver.from_json, items(values)))
    require_counts(*(item.count for item in found))
    return found


def _read_parts(values: object) -> tuple[Part, ...]:
    """Read parts; paths and splits of shards must not lead elsewhere, as files are read and written by them."""
    parts = tuple(map(Part.from_json, items(values)))
    for shard in (shard for part in parts for shard in part.shards):
        if not is_shard_name(shard.path):
            raise ValueError(f"{shard.path!r} is not the name of a shard, such as data/train-00000-of-00001.parquet")
        if not is_split_name(shard.split):
            raise ValueError(f"{shard.split!r} is not the name of a split: letters, digits, _ and dots between them")
    return parts


def _read_files(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"files must be a list of names, not {value!r}")
    return tuple(value)


def _read_tally(value: Mapping[str, Any]) -> Tally:
    tally = Tally.from_json(dict(value))
    counters: list[Counter[Any]] = [tally.read, tally.kept, *tally.dropped.values(), tally.notices]
    for counter in counters:
        require_counts(*counter.values())
    return tally


def _read_recipe(value: object) -> Mapping[str, Any]:
    """Check the parts of a recipe that this package uses; options of other versions and of plug-ins are kept."""
    if not isinstance(value, Mapping):
        raise TypeError("the recipe must be a mapping of options")
    require_text(name=value["source"]["name"])
    grounding = value.get("grounding")
    if not isinstance(grounding, Mapping | None):
        raise TypeError(f"grounding must be options or null, not {grounding!r}")
    require_levels(value)
    return value
