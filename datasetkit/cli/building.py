"""What every ``datasetkit build`` has in common. Owns its shared options, the run, and the closing summary."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasetkit.cli.grounding import PANEL, ModelOptions, knows_only_scenes
from datasetkit.cli.progress import progress_line
from datasetkit.core.errors import OutputError, RecipeError
from datasetkit.core.text import counted

if TYPE_CHECKING:
    from datasetkit.export.dataset.manifest import Manifest
    from datasetkit.options import Recipe
    from datasetkit.runtime.devices import Placement


def local_folder(text: str) -> Path:
    """Read ``--out``: a build resumes by renaming and locking files, which object stores cannot do."""
    from datasetkit.core.paths import as_place

    place = as_place(text)
    if not isinstance(place, Path):
        raise OutputError(f"--out {place} is remote; build into a folder, then send it: datasetkit push FOLDER {place}")
    return place


@dataclass(frozen=True)
class RunOptions:
    """Where to build, and how; none of it changes what comes out."""

    out: Annotated[Path, typer.Option(metavar="PATH", parser=local_folder, help="Folder to write.", show_default=False)]
    workers: Annotated[int, typer.Option(min=1, help="Threads that read and annotate.")] = os.cpu_count() or 1
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another build in OUT.")] = False
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Build parts again that hold pictures which could not be read.")
    ] = False
    device: Annotated[
        str, typer.Option(rich_help_panel=PANEL, help="Where models run: auto, cpu, cuda, cuda:1, mps.")
    ] = "auto"
    captioner_batch: Annotated[
        int, typer.Option(rich_help_panel=PANEL, min=1, help="Pictures the captioner takes at once.")
    ] = 8
    detector_batch: Annotated[
        int, typer.Option(rich_help_panel=PANEL, min=1, help="Pictures the detector takes at once.")
    ] = 8
    segmenter_batch: Annotated[
        int, typer.Option(rich_help_panel=PANEL, min=1, help="Pictures the segmenter takes at once.")
    ] = 8

    @property
    def placement(self) -> Placement:
        """Where models run."""
        from datasetkit.runtime.devices import Placement

        return Placement(self.device, self.captioner_batch, self.detector_batch, self.segmenter_batch)


@dataclass(frozen=True)
class BuildOptions(ModelOptions, RunOptions):
    """The options of a recipe that every source has, and those of the run."""

    split: Annotated[str | None, typer.Option(help="Name of the one split.  [default: the source's own, or train]")] = (
        None
    )
    splits: Annotated[
        str | None, typer.Option(help="Shares by a hash of the picture, as train=.9,validation=.05,test=.05.")
    ] = None
    key_max: Annotated[int | None, typer.Option(min=1, help="Keep the N most salient key objects.")] = None
    license: Annotated[str | None, typer.Option(help="License of pictures whose source names none.")] = None
    overlay: Annotated[bool, typer.Option(help="Add a column of small pictures with the masks drawn on them.")] = True
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Largest picture file that is opened.")] = None
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Largest picture that is decoded.")] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Read the first N entries only.")] = None
    part_size: Annotated[int, typer.Option(min=1, help="Entries a part; a part is the unit of resuming.")] = 1000

    def recipe(self, **source: Any) -> Recipe:
        """Put the recipe together and check it."""
        from datasetkit.options import Recipe

        limits = {"max_bytes": self.max_bytes, "max_pixels": self.max_pixels}
        value = {
            "source": source,
            "grounding": self.grounding(),
            "splits": _shares(self.split, self.splits),
            "key_max": self.key_max,
            "license": self.license,
            "overlay": self.overlay,
            "limits": {name: number for name, number in limits.items() if number is not None},
            "limit": self.limit,
            "part_size": self.part_size,
        }
        return Recipe.parse(value, "options")


def _shares(split: str | None, splits: str | None) -> dict[str, float] | None:
    if split is not None and splits is not None:
        raise RecipeError("--split and --splits were both given; give one of them")
    if split is not None:
        return {split: 1.0}
    if splits is None:
        return None
    try:
        pairs = [(name.strip(), float(share)) for name, share in (item.split("=") for item in splits.split(","))]
    except ValueError:
        raise RecipeError(f"--splits {splits!r}: give shares as train=.9,validation=.05,test=.05") from None
    if len(dict(pairs)) < len(pairs):
        raise RecipeError(f"--splits {splits!r} names a split twice; give every split once")
    return dict(pairs)


def run(recipe: Recipe, options: RunOptions) -> None:
    """Build, with a line of progress and a summary."""
    from datasetkit.pipeline.build import build

    if recipe.grounding is None:
        _refuse_placement(options.placement)
    if knows_only_scenes(recipe):
        typer.echo(
            "warning: the toyworld models know rendered scenes only; on other pictures they mean nothing", err=True
        )
    started = time.monotonic()
    with progress_line() as (show_loading, show):
        manifest = build(
            recipe,
            options.out,
            workers=options.workers,
            placement=options.placement,
            overwrite=options.overwrite,
            retry_failed=options.retry_failed,
            on_loading=show_loading,
            on_progress=show,
        )
    _summarise(manifest, options.out, time.monotonic() - started)
    if recipe.grounding is None and not recipe.source.has_objects and not manifest.tally.read["annotation"]:
        typer.echo("hint         no objects were looked for; --preset grounded-sam finds them with models")


def _refuse_placement(placement: Placement) -> None:
    """Refuse to ignore options of models where no models are asked."""
    for field in fields(placement):
        value = getattr(placement, field.name)
        if value != field.default:
            raise RecipeError(
                f"--{field.name.replace('_', '-')} {value} is an option of models, but none are asked for; leave it "
                "out, or ask for models: --preset, or `grounding` in a recipe"
            )


def elapsed(seconds: float) -> str:
    """Spell a duration: ``7.3 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def _summarise(manifest: Manifest, out: Path, seconds: float) -> None:
    from datasetkit.core.ledger import DropReason
    from datasetkit.export.dataset.manifest import LEDGER_NAME
    from datasetkit.export.dataset.statistics import Statistics

    tally = manifest.tally
    splits = ", ".join(f"{split} {rows:,}" for split, rows in manifest.split_rows.items()) or "none"
    typer.echo(f"records      read {tally.read['record']:,}, kept {tally.kept['record']:,} ({splits})")
    gave_way = tally.dropped["annotation"][DropReason.RELABELLED]
    if gave_way:
        typer.echo(f"replaced     {gave_way:,} of the source's masks by what the models found")
    if tally.read["annotation"] > gave_way:
        typer.echo(f"annotations  read {tally.read['annotation']:,}, kept {tally.kept['annotation']:,}")
    if tally.read["detection"]:
        typer.echo(f"detections   read {tally.read['detection']:,}, kept {tally.kept['detection']:,}")
    for scope, reasons in tally.dropped.items():
        for reason, count in sorted(reasons.items()):
            if reason is DropReason.RELABELLED:
                continue
            typer.echo(f"dropped      {counted(count, scope)}: {reason} ({reason.explanation})")
    for kind, count in sorted(manifest.tally.notices.items()):
        typer.echo(f"noticed      {counted(count, 'record')}: {kind} ({kind.explanation})")
    shared = Statistics.read(out).shared_pictures
    if shared:
        pictures = "1 picture comes" if shared == 1 else f"{shared:,} pictures come"
        typer.echo(
            f"noticed      {pictures} again in another split; --splits train=.9,test=.1 keeps equal ones together"
        )
    typer.echo(f"wrote        {out}")
    typer.echo(f"took         {elapsed(seconds)}")
    if tally.dropped["record"][DropReason.NO_DESCRIPTION]:
        typer.echo("hint         --no-require-description keeps pictures that have no description")
    if tally.read["annotation"] and not tally.kept["annotation"] and not gave_way:
        typer.echo("warning: no annotation was kept; do the annotation files belong to these pictures?", err=True)
    if not tally.kept["record"]:
        raise OutputError(f"no record was kept; {out / LEDGER_NAME} says why, record by record")
