"""Flat options of ``build``, as users give them. Owns those without effect on the result, and the way to a recipe."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from datasetkit.core.addresses import check_written
from datasetkit.core.errors import OutputError, RecipeError
from datasetkit.core.paths import Place
from datasetkit.core.remote import RemotePath
from datasetkit.options.base import (
    AnyPlace,
    Device,
    Dtype,
    InstanceOptions,
    Options,
    PartOptions,
    Settings,
    Typed,
    local_only,
)
from datasetkit.options.engines import EngineOptions
from datasetkit.options.models import PART_REGISTRIES
from datasetkit.options.presets import preset
from datasetkit.options.recipe import LimitOptions, Recipe, RecordOptions
from datasetkit.options.sources import SourceOptions

NONE = "none"
# Options of grounding that hold without a detector.
_DESCRIBING = ("captioner", "recaption", "dtype")


ModelsFolder = Annotated[
    Path, local_only(lambda path: OutputError(f"{path} is remote; models are fetched to a folder on this machine"))
]


class Placement(Options):
    """Where models run, and on how many images at once; not part of a recipe."""

    panel: ClassVar[str | None] = "Models"

    device: Device = "auto"
    """Device of the models: auto, cpu, cuda, cuda:1 or mps."""
    models: ModelsFolder | None = None
    """Folder that `datasetkit models fetch --to` filled. Models are loaded from it, and the Hub is not asked.
    [default: the Hub and its cache]"""
    captioner_batch: int = Field(default=8, ge=1)
    """Captioner batch size, in images."""
    detector_batch: int = Field(default=8, ge=1)
    """Detector batch size, in images."""
    segmenter_batch: int = Field(default=8, ge=1)
    """Segmenter batch size, in images."""

    @property
    def window(self) -> int:
        """The most images from the first of an incomplete batch to the latest: those of a rare size wait no longer."""
        return 4 * max(self.captioner_batch, self.detector_batch, self.segmenter_batch)


def _written(place: Place) -> Place:
    if isinstance(place, RemotePath):
        check_written(place.protocol, place)
    return place


OutputPlace = Annotated[AnyPlace, AfterValidator(_written), Typed(metavar="PATH|URI")]


class RunOptions(EngineOptions, Placement):
    """Where and how to build, without an effect on the result."""

    panel: ClassVar[str | None] = None

    out: OutputPlace
    """Output folder, or a prefix in an object store, such as s3://bucket/prefix."""
    overwrite: bool = False
    """Replace another build in OUT."""
    retry_failed: bool = False
    """Rebuild parts with records that may succeed now: images that could not be read, or whose worker died."""
    update: bool = False
    """Rebuild parts whose input files have changed."""
    max_failures: int | None = Field(default=None, ge=1)
    """Number of I/O failures after which a build stops.  [default: 20 in a row, or 5 % of a part beyond its first 100
    entries]"""


def _read_chosen(value: object) -> object:
    """Read an object that is neither text nor options as the model itself."""
    return value if value is None or isinstance(value, str | PartOptions) else InstanceOptions.of(value)


# A model by its name, or as an object.
Chosen = Annotated[str | InstanceOptions | None, BeforeValidator(_read_chosen)]


class ModelOptions(Options):
    """Which models describe images and find objects: a preset, and overrides of its options."""

    panel: ClassVar[str | None] = "Models"

    preset: str | None = None
    """Preset of the models that find the objects: toyworld, grounded-sam, a YAML file, or none."""
    caption_with: str | None = None
    """Preset whose captioner describes images without a description. Objects and masks stay the source's, and the
    descriptions are aligned to them."""
    captioner: Chosen = None
    """Captioner to use instead of the preset's: a checkpoint, a plug-in by name, package.module:Class, or given (texts
    come from the source)."""
    detector: Chosen = None
    """Detector or grounder to use instead of the preset's: a checkpoint, a plug-in by name, or package.module:Class."""
    segmenter: Chosen = None
    """Segmenter to use instead of the preset's: a checkpoint, a plug-in by name, package.module:Class, or none."""
    dtype: Dtype | None = None
    """Model dtype, of weights and activations."""
    set: Annotated[Settings, Typed("NAME=VALUE", is_repeatable=True)] = Field(default={})
    """Set any option of the models, such as detector.score_min=.4; repeatable."""
    allow_code: bool = False
    """Import classes that a preset file names (package.module:Class)."""

    def grounding(self) -> dict[str, Any] | None:
        """Return the preset with the single options put over it.

        Raises:
            RecipeError: options of models were given, but no models, or options other than the captioner's with
                ``caption_with``; see :func:`preset`.

        """
        changes = {
            **_model_changes("captioner", self.captioner),
            **_model_changes("detector", self.detector),
            **_model_changes("segmenter", self.segmenter),
            **({} if self.dtype is None else {"dtype": self.dtype}),
            **self.set,
        }
        if self.caption_with is not None:
            return self._describing(changes)
        if self.preset == NONE or (self.preset is None and not {"detector", "detector.name"} & changes.keys()):
            if changes:
                raise RecipeError(
                    f"{next(iter(changes))} is an option of models, but no models were chosen; give --preset"
                )
            return None
        return preset(self.preset, changes, allow_code=self.allow_code)

    def _describing(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the captioner alone."""
        if self.preset is not None:
            raise RecipeError("--preset finds objects, and --caption-with keeps those of the source; give one of them")
        if others := [path for path in changes if path.partition(".")[0] not in _DESCRIBING]:
            raise RecipeError(
                f"{others[0]} is an option of models that find objects, and --caption-with uses the captioner alone; "
                "leave it out, or give --preset"
            )
        found = preset(self.caption_with, changes, allow_code=self.allow_code)
        return {**{name: found[name] for name in _DESCRIBING if name in found}, "detector": None}

    def fetch_command(self, default: str | None = None) -> str:
        """Return the command that fetches these models.

        Args:
            default: preset of the source, where no other is given.

        """
        chosen = self.caption_with or self.preset or default
        option = "--preset" if self.caption_with is None else "--caption-with"
        typed = [] if chosen is None else [option, chosen]
        for name in PART_REGISTRIES:
            value = getattr(self, name)
            typed += [f"--{name}", value] if isinstance(value, str) else []
        for name, value in self.set.items():
            typed += ["--set", f"{name}={json.dumps(value)}"]
        if self.allow_code:
            typed.append("--allow-code")
        return shlex.join(["datasetkit", "models", "fetch", *typed])


class BuildOptions(RecordOptions, LimitOptions, ModelOptions, RunOptions):
    """All options of a build except its source."""

    panel: ClassVar[str | None] = None

    dry_run: bool = False
    """Read the first 100 entries, show one of their records, and write nothing; needs no --out."""
    split: str | None = None
    """Put all records in one split of this name.  [default: the splits of the source, or train]"""

    def recipe(self, source: SourceOptions) -> Recipe:
        """Return the recipe of these options and a source.

        Raises:
            RecipeError: options contradict each other, or an option of the models is out of range.

        """
        if self.split is not None and self.splits is not None:
            raise RecipeError("--split and --splits were both given; give one of them")
        shared = {name: getattr(self, name) for name in RecordOptions.model_fields}
        splits = self.splits if self.split is None else {self.split: 1.0}
        has_models = self.preset or self.caption_with or not source.preset
        chosen = self if has_models else self.model_copy(update={"preset": source.preset})
        return Recipe.checked(
            {
                **shared,
                "source": source,
                "grounding": chosen.grounding(),
                "limits": self.part(LimitOptions),
                "splits": splits,
            },
            lambda name: name.removeprefix("grounding."),  # as --set names the options of models
        )


def _model_changes(part: str, given: str | InstanceOptions | None) -> dict[str, Any]:
    """Return the changes that replace a preset's model by an object, a plug-in, or a checkpoint of the same kind."""
    if given is None:
        return {}
    if isinstance(given, InstanceOptions):
        return {part: given}
    if part == "segmenter" and given == NONE:
        return {part: None}
    if any(registry.has(given) for registry in PART_REGISTRIES[part]):
        return {f"{part}.name": given}
    return {f"{part}.model": given, f"{part}.revision": None}  # the preset's revision was that of its own checkpoint


class ModelsCommand(ModelOptions):
    """Options of ``datasetkit models``: the models of a build, and their folder."""

    panel: ClassVar[str | None] = None

    to: ModelsFolder | None = None
    """Folder of the models, which can be carried to another machine.  [default: the Hub's cache]"""


class DoctorCommand(ModelOptions):
    """Options of ``datasetkit doctor``: the models of a build, and where they would run."""

    panel: ClassVar[str | None] = None

    device: Device = "auto"
    """Device of the models: auto, cpu, cuda, cuda:1 or mps."""
    models: ModelsFolder | None = None
    """Folder that `datasetkit models fetch --to` filled.  [default: the Hub's cache]"""


class DryRunOptions(BuildOptions):
    """Options of a build that is only tried, so that nothing is written."""

    out: OutputPlace = Path()
    """Output folder; it is not used."""
