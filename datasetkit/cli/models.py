"""``datasetkit models``: the models of a preset, before a build needs them."""

from __future__ import annotations

from datasetkit.api.models import check_models, fetch_models, list_models
from datasetkit.cli.lazy import Lazy, LazyGroup
from datasetkit.cli.screen import Screen
from datasetkit.options.build import ModelsCommand


def listed(options: ModelsCommand, screen: Screen) -> None:
    """Name the models with --preset, or with --detector and the like.

    Sizes and licenses are asked of the Hub if it answers; nothing is fetched.
    """
    screen.show(list_models(options))


def fetched(options: ModelsCommand, screen: Screen) -> None:
    """Name the models with --preset, or with --detector and the like.

    Fetch only the files that loading needs (safetensors, configurations, tokenizers), at the pinned revisions.

    An interrupted fetch resumes where it stopped, also within a file. A folder that was filled with --to can be carried
    to a machine without a network: datasetkit build ... --models DIR.
    """
    with screen.progress(unit="bytes", kept="what was fetched is kept") as bar:
        found = fetch_models(options, bar)
    screen.show(found)


def checked(options: ModelsCommand, screen: Screen) -> None:
    """Name the models with --preset, or with --detector and the like.

    Compare every file with the digest that the Hub listed. Exit code 1 and one line per fault.
    """
    found = check_models(options)
    screen.show(found, is_failure=not found.is_sound)


_TABLE = {
    "list": Lazy("Commands", "datasetkit.cli.models:listed", "List the models of a preset, and what of them is here."),
    "fetch": Lazy("Commands", "datasetkit.cli.models:fetched", "Fetch the models of a preset."),
    "check": Lazy("Commands", "datasetkit.cli.models:checked", "Check the models of a preset that are here."),
}
models = LazyGroup("models", table=_TABLE, help="List, fetch and check the models of a preset.")
