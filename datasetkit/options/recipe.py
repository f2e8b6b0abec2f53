"""A recipe: all checked options of a build, read and written as YAML. Owns the way from values to options and file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator
from pydantic_core import to_jsonable_python

from datasetkit.core.errors import RecipeError
from datasetkit.core.limits import MOST_PIXELS, ImageLimits
from datasetkit.core.paths import Place, absolute
from datasetkit.core.remote import RemotePath
from datasetkit.options.base import Options, Several, Typed
from datasetkit.options.files import read_options
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.models import Filter, NounPhraseOptions, PhraseFinder
from datasetkit.options.sources import HubOptions, Source


def _read_shares(value: object) -> object:
    """Read shares typed as ``train=.9,validation=.05,test=.05``."""
    if not isinstance(value, str):
        return value
    try:
        pairs = [(name.strip(), float(share)) for name, share in (item.split("=") for item in value.split(","))]
    except ValueError:
        raise ValueError("give shares, such as train=.9,validation=.05,test=.05") from None
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a split is named twice; give every split once")
    return dict(pairs)


class LimitOptions(Options):
    """Largest images that are read."""

    max_bytes: int = Field(default=ImageLimits().max_bytes, ge=1)
    """Largest image file to read, in bytes."""
    max_pixels: int = Field(default=ImageLimits().max_pixels, ge=1, le=MOST_PIXELS)
    """Largest image to decode, in pixels."""


class RecordOptions(Options):
    """How records are processed, whatever their source."""

    splits: Annotated[dict[str, float] | None, BeforeValidator(_read_shares), Typed("NAME=SHARE,...")] = None
    """Split shares, drawn by a hash of each image, such as train=.9,validation=.05,test=.05.  [default: the splits of
    the source, or train]"""
    splits_exact: bool = False
    """Make split shares exact, by cutting the sorted hashes of all readable images; adding images may then move others
    to another split."""
    key_max: int | None = Field(default=None, ge=1)
    """Largest number of key objects per image: the N most salient mentioned objects.  [default: all mentioned
    objects]"""
    license: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    """License of images for which the source names none."""
    overlay: bool = True
    """Add a column of small images with masks drawn on them."""
    limit: int | None = Field(default=None, ge=1, le=2**53)
    """Read only the first N entries of the source."""
    part_size: int = Field(default=1000, ge=1, le=2**53)
    """Number of entries per part, the unit of work of workers and of resuming; a part yields at most one shard per
    split."""
    phrases: Annotated[PhraseFinder, Typed("NAME")] = NounPhraseOptions()
    """Phrase finder: noun-phrases, a plug-in by name, or package.module:Class."""
    filters: Annotated[tuple[Filter, ...], Several, Typed("NAME", is_repeatable=True)] = ()
    """Record filter: a plug-in by name, package.module:Class, or '{name: ..., OPTION: ...}'; repeatable."""

    @field_validator("splits")
    @classmethod
    def _check_splits(cls, splits: dict[str, float] | None) -> dict[str, float] | None:
        if splits is None:
            return None
        bad = [name for name in splits if not name.isidentifier()]
        if bad:
            raise ValueError(f"split name {bad[0]!r} must be letters, digits and _")
        if not (min(splits.values(), default=0) > 0 and abs(sum(splits.values()) - 1) <= 1e-6):  # NaN fails this
            raise ValueError(
                f"shares {list(splits.values())} add up to {sum(splits.values()):g}; "
                "give shares above 0 that add up to 1"
            )
        return splits

    @model_validator(mode="after")
    def _check_exact(self) -> Self:
        if self.splits_exact and self.splits is None:
            raise ValueError("splits_exact needs shares; give splits, such as train=.9,test=.1")
        return self


class _Parts(Options):
    """The first options of a recipe."""

    source: Source
    """Source of the records."""
    grounding: GroundingOptions | None = None
    """Models that find objects, which replace those of the source.  [default: objects of the source]"""
    limits: LimitOptions = LimitOptions()
    """Largest images that are read."""


class Recipe(RecordOptions, _Parts):
    """All options that affect the result of a build."""

    @property
    def image_limits(self) -> ImageLimits:
        """The limits, as the image loader takes them."""
        return ImageLimits(self.limits.max_bytes, self.limits.max_pixels)

    def published(self) -> dict[str, Any]:
        """Return the recipe as plain values for manifest, card and ``recipe.yaml``.

        Paths are relative to the innermost folder that contains them all, so that a published recipe reveals nothing
        about the machine, and works wherever the source's files have the same relative paths. Remote URIs stay as they
        are.
        """
        value = to_jsonable_python(self.model_dump(), fallback=str)
        value["phrases"], value["filters"] = self.phrases.published(), [one.published() for one in self.filters]
        options = self._source_places()
        paths = [absolute(place) for _, places in options for place in places if isinstance(place, Path)]
        root = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        is_apart = root == Path(root.anchor)
        names = (path.name if is_apart else path.relative_to(root).as_posix() for path in paths)
        for option, places in options:
            found = [next(names) if isinstance(place, Path) else str(place) for place in places]
            value["source"][option] = found if isinstance(value["source"][option], list) else found[0]
        if self.grounding is not None:
            value["grounding"] = self.grounding.published()
        return value

    def _source_places(self) -> list[tuple[str, tuple[Place, ...]]]:
        """Return the source's options that are paths or URIs, each as a list."""
        options = ((name, item if isinstance(item, tuple) else (item,)) for name, item in self.source)
        return [(name, items) for name, items in options if items and isinstance(items[0], Place)]

    @property
    def is_remote(self) -> bool:
        """Whether the source, or a part of it, is in a store or on the Hub, so that reading waits for a network."""
        places = [place for _, found in self._source_places() for place in found]
        return isinstance(self.source, HubOptions) or any(isinstance(place, RemotePath) for place in places)

    def check_places(self) -> None:
        """Refuse missing paths, such as those of a recipe read in another folder.

        Raises:
            RecipeError: a path is missing; names the first one.

        """
        for name, places in self._source_places():
            local = [place for place in places if isinstance(place, Path) and "{" not in place.name]
            if missing := [place for place in local if not place.exists()]:
                raise RecipeError(f"{missing[0]} does not exist; give the folder that contains {name} as --root")

    @classmethod
    def read(cls, path: Path, root: Path, *, allow_code: bool = False) -> Recipe:
        """Read a YAML recipe; relative paths of its source start at ``root``.

        Args:
            path: path of the file.
            root: folder that relative paths start at.
            allow_code: whether it may name classes, whose modules are then imported.

        Raises:
            RecipeError: the file is missing, not YAML, has unknown options, or names a class without ``allow_code``.

        """
        value = read_options(path, "recipe", allow_code=allow_code)
        if _is_of_objects(value):
            raise RecipeError(
                f"{path} belongs to a build from Python objects; call datasetkit.build with these objects instead"
            )
        try:
            recipe = cls.checked(value)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None
        located: dict[str, Any] = {}
        for name, places in recipe._source_places():
            found = tuple(root / place if isinstance(place, Path) else place for place in places)
            located[name] = found if isinstance(getattr(recipe.source, name), tuple) else found[0]
        update: dict[str, Any] = {"source": recipe.source.model_copy(update=located)}
        if recipe.grounding is not None:
            update["grounding"] = recipe.grounding.located(root)
        return recipe.model_copy(update=update)


def _is_of_objects(value: object) -> bool:
    """Return whether a recipe has a part that was a Python object, for which it records the digest of its settings."""
    if isinstance(value, dict):
        return "settings" in value or any(map(_is_of_objects, value.values()))
    return isinstance(value, list) and any(map(_is_of_objects, value))


def recipe_yaml(published: Mapping[str, Any]) -> str:
    """Return a published recipe as YAML, in the order of its options."""
    return yaml.safe_dump(dict(published), sort_keys=False, allow_unicode=True)
