"""``datasetkit build``: one command a source. Owns the way from typed options to a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from datasetkit.cli.building import BuildOptions, RunOptions, run
from datasetkit.cli.grounding import PANEL, check_relabel
from datasetkit.cli.options import takes

app = typer.Typer(
    help="Build a dataset from pictures. Where a source is a PLACE, it may be remote: s3://bucket/prefix.",
    no_args_is_help=True,
)

ImageColumn = Annotated[
    str | None, typer.Option(help="Column of the encoded pictures.  [default: found by its type and name]")
]
TextColumn = Annotated[
    str | None, typer.Option(help="Column of the descriptions.  [default: description, caption or text]")
]
IdColumn = Annotated[str | None, typer.Option(help="Column of the records' ids.  [default: rows are numbered]")]
RequireDescription = Annotated[bool, typer.Option(help="Drop pictures without a description.")]
Relabel = Annotated[
    bool,
    typer.Option("--relabel", rich_help_panel=PANEL, help="Let the preset's models replace a built dataset's objects."),
]


@app.command("coco")
@takes(BuildOptions)
def coco(
    images: Annotated[str, typer.Option(metavar="PLACE", help="Folder of the pictures.", show_default=False)],
    options: BuildOptions,
    instances: Annotated[str | None, typer.Option(metavar="PLACE", help="COCO instances JSON: human masks.")] = None,
    captions: Annotated[str | None, typer.Option(metavar="PLACE", help="COCO captions JSON.")] = None,
    caption: Annotated[
        Literal["first", "longest", "all", "best-aligned"],
        typer.Option(help="Which of a picture's captions; all makes one record each."),
    ] = "first",
    require_description: Annotated[bool, typer.Option(help="Drop pictures without a caption.")] = True,
    relabel: Annotated[
        bool, typer.Option("--relabel", rich_help_panel=PANEL, help="Let the preset's models replace the human masks.")
    ] = False,
) -> None:
    """Build from data in COCO's format: human masks, captions aligned to them."""
    check_relabel(options.preset, has_masks=instances is not None, relabel=relabel)
    recipe = options.recipe(
        name="coco",
        images=images,
        instances=instances,
        captions=captions,
        caption=caption,
        require_description=require_description,
    )
    run(recipe, options)


@app.command("folder")
@takes(BuildOptions)
def folder(
    folder: Annotated[
        str, typer.Argument(metavar="PLACE", help="Folder of pictures, with metadata.jsonl, .csv or .parquet.")
    ],
    options: BuildOptions,
    caption_column: Annotated[
        str | None, typer.Option(help="Metadata column with the text.  [default: description, caption or text]")
    ] = None,
    require_description: Annotated[bool, typer.Option(help="Drop pictures without a description.")] = False,
) -> None:
    """Build from a folder of pictures, descriptions from its metadata files."""
    recipe = options.recipe(
        name="folder", folder=folder, caption_column=caption_column, require_description=require_description
    )
    run(recipe, options)


@app.command("parquet")
@takes(BuildOptions)
def parquet(
    files: Annotated[
        list[str], typer.Argument(metavar="PLACE", help="Parquet files, or folders of them; built folders, too.")
    ],
    options: BuildOptions,
    image_column: ImageColumn = None,
    text_column: TextColumn = None,
    id_column: IdColumn = None,
    require_description: RequireDescription = False,
    relabel: Relabel = False,
) -> None:
    """Build from rows with a picture and a text; rows of a built folder come back as the records they were."""
    recipe = options.recipe(
        name="parquet",
        files=files,
        image_column=image_column,
        text_column=text_column,
        id_column=id_column,
        require_description=require_description,
        relabel=relabel,
    )
    run(recipe, options)


@app.command("webdataset")
@takes(BuildOptions)
def webdataset(
    shards: Annotated[
        list[str], typer.Argument(metavar="PLACE", help="Tar files, folders of them, or 'part-{000..041}.tar'.")
    ],
    options: BuildOptions,
    text_column: Annotated[
        str | None,
        typer.Option(help="Key of KEY.json with the text.  [default: KEY.txt, else description, caption or text]"),
    ] = None,
    require_description: RequireDescription = False,
    relabel: Relabel = False,
) -> None:
    """Build from WebDataset shards: KEY.jpg with KEY.txt or KEY.json; nothing is unpacked."""
    recipe = options.recipe(
        name="webdataset",
        shards=shards,
        text_column=text_column,
        require_description=require_description,
        relabel=relabel,
    )
    run(recipe, options)


@app.command("hub")
@takes(BuildOptions)
def hub(
    repo: Annotated[str, typer.Argument(help="user/name of a dataset on the Hub.")],
    options: BuildOptions,
    config: Annotated[str | None, typer.Option(help="Configuration, where there are several.")] = None,
    split: Annotated[str | None, typer.Option(help="Read this split only.  [default: all, each kept apart]")] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit.  [default: the newest; its commit is recorded]")
    ] = None,
    image_column: ImageColumn = None,
    text_column: TextColumn = None,
    id_column: IdColumn = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read rows as they are needed, without downloading all.")
    ] = False,
    require_description: RequireDescription = False,
    relabel: Relabel = False,
) -> None:
    """Build from a dataset on the Hub with pictures and texts; one that was built here comes back whole."""
    from datasetkit.sources.hub_loading import resolve_commit

    source = {
        "name": "hub",
        "repo": repo,
        "config": config,
        "split": split,
        "revision": revision,
        "image_column": image_column,
        "text_column": text_column,
        "id_column": id_column,
        "streaming": streaming,
        "require_description": require_description,
        "relabel": relabel,
    }
    options.recipe(**source)  # what is wrong with the options is told before the Hub is asked
    run(options.recipe(**source | {"revision": resolve_commit(repo, revision)}), options)


@app.command("toyworld")
@takes(BuildOptions)
def toyworld(
    options: BuildOptions,
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 100,
    scene_split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Which of the disjoint ranges of seeds.")
    ] = "train",
    size_px: Annotated[int, typer.Option(help="Side of the square pictures.")] = 384,
    domain: Annotated[
        Literal["base", "shifted"], typer.Option(help="shifted renames colours and shapes, for tuning experiments.")
    ] = "base",
) -> None:
    """Build from rendered scenes: descriptions and questions, objects found by the shipped models; no download.

    --preset none keeps the exact masks instead.
    """
    options = replace(options, preset=options.preset or "toyworld")
    recipe = options.recipe(name="toyworld", count=count, scene_split=scene_split, size_px=size_px, domain=domain)
    run(recipe, options)


@app.command("recipe")
@takes(RunOptions)
def from_recipe(
    recipe: Annotated[Path, typer.Argument(help="YAML file, as every build leaves one in OUT.")],
    options: RunOptions,
    root: Annotated[
        Path | None, typer.Option(help="Folder below which the recipe's paths are.  [default: the recipe's own]")
    ] = None,
) -> None:
    """Build what a recipe file says."""
    from datasetkit.options import Recipe

    run(Recipe.read(recipe, root or recipe.parent), options)
