"""A recipe: every option of a build, checked, as YAML and back. Owns the way from values to options and to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from datasetkit.core.errors import RecipeError
from datasetkit.core.image import MOST_PIXELS, ImageLimits
from datasetkit.core.paths import Place, absolute
from datasetkit.core.text import one_line
from datasetkit.options.base import Options
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.sources import (
    CocoOptions,
    FolderOptions,
    HubOptions,
    ParquetOptions,
    ToyworldOptions,
    WebdatasetOptions,
)

SourceOptions = CocoOptions | FolderOptions | HubOptions | ParquetOptions | ToyworldOptions | WebdatasetOptions

_CHOICES = {"source", "captioner", "detector", "segmenter"}


class LimitOptions(Options):
    """What a picture may cost before it is decoded.

    Args:
        max_bytes: size of the encoded file.
        max_pixels: width times height.

    """

    max_bytes: int = Field(default=ImageLimits().max_bytes, ge=1)
    max_pixels: int = Field(default=ImageLimits().max_pixels, ge=1, le=MOST_PIXELS)


class Recipe(Options):
    """Everything that decides what a build gives.

    Args:
        source: where the records come from.
        grounding: how models find objects; they replace the source's own. None leaves the objects as the source has
            them.
        splits: share of each split, adding up to 1; pictures go by a hash of their bytes. None keeps the source's own
            splits, ``train`` where it has none.
        key_max: how many of the mentioned objects, the most salient ones, become key objects; None takes all.
        license: of pictures for which the source names none.
        overlay: whether there is a column of small pictures with the key objects drawn on them.
        limits: of pictures.
        limit: how many entries of the source are read; None reads all.
        part_size: how many entries make one part, the unit of resuming; a part gives one shard a split.

    """

    source: Annotated[SourceOptions, Field(discriminator="name")]
    grounding: GroundingOptions | None = None
    splits: dict[str, float] | None = None
    key_max: int | None = Field(default=None, ge=1)
    license: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    overlay: bool = True
    limits: LimitOptions = LimitOptions()
    limit: int | None = Field(default=None, ge=1)
    part_size: int = Field(default=1000, ge=1)

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
    def _check_source(self) -> Recipe:
        if isinstance(self.source, CocoOptions) and self.source.instances is None and self.source.captions is None:
            raise ValueError("coco needs instances, captions or both")
        return self

    @property
    def image_limits(self) -> ImageLimits:
        """The limits in the loader's own form."""
        return ImageLimits(self.limits.max_bytes, self.limits.max_pixels)

    def published(self) -> dict[str, Any]:
        """Give the recipe as plain values for manifest, card and ``recipe.yaml``.

        Paths are given relative to the innermost folder that holds them all, so that a published recipe tells nothing
        of the machine, and builds again wherever the source's files keep their places to each other. Addresses of
        remote places are given as they are.
        """
        value = self.model_dump()
        options = self._source_places()
        paths = [absolute(place) for _, places in options for place in places if isinstance(place, Path)]
        root = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        is_apart = root == Path(root.anchor)
        names = (path.name if is_apart else path.relative_to(root).as_posix() for path in paths)
        for option, places in options:
            found = [next(names) if isinstance(place, Path) else str(place) for place in places]
            value["source"][option] = found if isinstance(value["source"][option], tuple) else found[0]
        if self.grounding is not None:
            value["grounding"] = self.grounding.published()
        return value

    def _source_places(self) -> list[tuple[str, tuple[Place, ...]]]:
        """Give the source's options that are paths or addresses, each as a list."""
        options = ((name, item if isinstance(item, tuple) else (item,)) for name, item in self.source)
        return [(name, items) for name, items in options if isinstance(items[0], Place)]

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> Recipe:
        """Check a mapping of options.

        Raises:
            RecipeError: names the option, what came and what is allowed, in one line.

        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise RecipeError(f"{where}: {_told(error)}") from None

    @classmethod
    def read(cls, path: Path, root: Path) -> Recipe:
        """Read a YAML recipe; relative paths of its source are taken from ``root``.

        Raises:
            RecipeError: the file is missing, no YAML, or has options that do not exist.

        """
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} is not YAML: {one_line(error)}") from None
        if not isinstance(value, Mapping):
            raise RecipeError(f"{path} holds a {type(value).__name__}; a recipe is a mapping of options")
        recipe = cls.parse(value, str(path))
        located: dict[str, Any] = {}
        for name, places in recipe._source_places():
            found = tuple(root / place if isinstance(place, Path) else place for place in places)
            located[name] = found if isinstance(getattr(recipe.source, name), tuple) else found[0]
        update: dict[str, Any] = {"source": recipe.source.model_copy(update=located)}
        if recipe.grounding is not None:
            update["grounding"] = recipe.grounding.located(root)
        return recipe.model_copy(update=update)


def _told(error: ValidationError) -> str:
    """Put the first mistake in one line; an unknown name comes first, as it may be why another is missing."""
    errors = error.errors()
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    # After a part with a choice of kinds, the place holds the kind ("grounding-dino"), which stands in no recipe.
    place = ".".join(str(part) for before, part in pairwise(("", *first["loc"])) if before not in _CHOICES)
    messages = {"extra_forbidden": "there is no such option", "missing": "is needed"}
    message = messages.get(first["type"], first["msg"].removeprefix("Value error, "))
    came = "" if isinstance(first["input"], Mapping) else f" (came: {first['input']!r})"
    return f"{place}: {message}{came}" if place else f"{message}{came}"


def recipe_yaml(published: Mapping[str, Any]) -> str:
    """Spell a published recipe as YAML, in the order of its options."""
    return yaml.safe_dump(dict(published), sort_keys=False, allow_unicode=True)
