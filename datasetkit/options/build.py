"""Options of ``build`` as people give them, flat. Owns those that decide no bytes, and the way from all to a recipe."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from datasetkit.core.errors import OutputError, RecipeError
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath
from datasetkit.options.base import Device, Dtype, InstanceOptions, Options, PartOptions, Settings, Typed
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS
from datasetkit.options.presets import preset
from datasetkit.options.recipe import LimitOptions, Recipe, RecordOptions
from datasetkit.options.sources import SourceOptions

NONE = "none"
# Options of grounding that hold without a detector.
_DESCRIBING = ("captioner", "recaption", "dtype")
_REGISTRIES = {"captioner": (CAPTIONERS,), "detector": (DETECTORS, GROUNDERS), "segmenter": (SEGMENTERS,)}


class Placement(Options):
    """Where models run, and on how many images at once; none of it is part of a recipe."""

    panel: ClassVar[str | None] = "Models"

    device: Device = "auto"
    """Where models run: auto, cpu, cuda, cuda:1 or mps."""
    models: Path | None = None
    """Folder that `datasetkit models fetch --to` filled: models come from it, and the Hub is not asked.
    [default: the Hub and its cache]"""
    captioner_batch: int = Field(default=8, ge=1)
    """Images per batch of the captioner."""
    detector_batch: int = Field(default=8, ge=1)
    """Images per batch of the detector."""
    segmenter_batch: int = Field(default=8, ge=1)
    """Images per batch of the segmenter."""

    @property
    def window(self) -> int:
        """How many images are read before models run: some batches, to find images of one size among."""
        return 4 * max(self.captioner_batch, self.detector_batch, self.segmenter_batch)


def _local_folder(value: object) -> object:
    """Read a folder to build in: a build resumes by renaming and locking files, which object stores cannot do."""
    place = as_place(value) if isinstance(value, str) else value
    if isinstance(place, RemotePath):
        raise OutputError(f"--out {place} is remote; build into a folder, then send it: datasetkit push FOLDER {place}")
    return place


class RunOptions(Placement):
    """Where to build, and how; none of it changes what comes out."""

    panel: ClassVar[str | None] = None

    out: Annotated[Path, BeforeValidator(_local_folder)]
    """Folder to write."""
    workers: int = Field(default=os.cpu_count() or 1, ge=1)
    """Threads that read and annotate."""
    overwrite: bool = False
    """Replace another build in OUT."""
    retry_failed: bool = False
    """Build parts again that hold images which could not be read."""
    update: bool = False
    """Build parts again whose input files have changed."""
    max_failures: int | None = Field(default=None, ge=1)
    """I/O failures after which a build stops.  [default: 20 in a row, or 5 % of a part beyond its first 100 entries]"""


def _read_chosen(value: object) -> object:
    """Take an object that is neither text nor options for the model itself."""
    return value if value is None or isinstance(value, str | PartOptions) else InstanceOptions.of(value)


# A model by its name, or one that is here as an object.
Chosen = Annotated[str | InstanceOptions | None, BeforeValidator(_read_chosen)]


class ModelOptions(Options):
    """Which models describe images and find objects: a preset, and what is put over its options."""

    panel: ClassVar[str | None] = "Models"

    preset: str | None = None
    """Models that find the objects: toyworld, grounded-sam, a YAML file, or none."""
    caption_with: str | None = None
    """Preset whose captioner describes images without a description; objects and masks stay the source's, and the
    descriptions are aligned to them."""
    captioner: Chosen = None
    """Another captioner: a checkpoint, the name of a plug-in, package.module:Class, or given."""
    detector: Chosen = None
    """Another detector or grounder: a checkpoint, the name of a plug-in, or package.module:Class."""
    segmenter: Chosen = None
    """Another segmenter: a checkpoint, the name of a plug-in, package.module:Class, or none."""
    dtype: Dtype | None = None
    """Type of the models' weights and activations."""
    set: Annotated[Settings, Typed("NAME=VALUE", is_repeatable=True)] = Field(default={})
    """Any option of the models, as detector.score_min=.4; repeatable."""
    allow_code: bool = False
    """Import the classes that a preset's file names as package.module:Class."""

    def grounding(self) -> dict[str, Any] | None:
        """Put single options over those of the preset.

        Raises:
            RecipeError: there are options of models, but none are asked for, or those of ``caption_with`` are about
                other models than the captioner; see :func:`preset`.

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
                    f"{next(iter(changes))} is an option of models, but none are asked for; give --preset"
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
        for name in _REGISTRIES:
            value = getattr(self, name)
            typed += [f"--{name}", value] if isinstance(value, str) else []
        for name, value in self.set.items():
            typed += ["--set", f"{name}={json.dumps(value)}"]
        if self.allow_code:
            typed.append("--allow-code")
        return shlex.join(["datasetkit", "models", "fetch", *typed])


class BuildOptions(RecordOptions, LimitOptions, ModelOptions, RunOptions):
    """Everything that a build takes besides its source."""

    panel: ClassVar[str | None] = None

    split: str | None = None
    """Name of the one split.  [default: the source's own, or train]"""

    def recipe(self, source: SourceOptions) -> Recipe:
        """Put the recipe together.

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
            }
        )


def _model_changes(part: str, given: str | InstanceOptions | None) -> dict[str, Any]:
    """Put another model in place of a preset's: an object, a plug-in by name, or a checkpoint of the same kind."""
    if given is None:
        return {}
    if isinstance(given, InstanceOptions):
        return {part: given}
    if part == "segmenter" and given == NONE:
        return {part: None}
    if any(registry.has(given) for registry in _REGISTRIES[part]):
        return {f"{part}.name": given}
    return {f"{part}.model": given, f"{part}.revision": None}  # the revision was the other's


class ModelsCommand(ModelOptions):
    """What ``datasetkit models`` takes: the models of a build, and where they are."""

    panel: ClassVar[str | None] = None

    to: Path | None = None
    """Folder for the models, which can be carried to another machine.  [default: the Hub's cache]"""


class DoctorCommand(ModelOptions):
    """What ``datasetkit doctor`` takes: the models of a build, and where they are to run."""

    panel: ClassVar[str | None] = None

    device: Device = "auto"
    """Where models would run: auto, cpu, cuda, cuda:1 or mps."""
    models: Path | None = None
    """Folder that `datasetkit models fetch --to` filled.  [default: the Hub's cache]"""
