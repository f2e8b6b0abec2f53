"""The commands for a built dataset: ``verify``, ``stats``, ``preview``, ``card``, ``export`` and ``push``."""

from __future__ import annotations

from typing import Any

from datasetkit.api.built import open_built
from datasetkit.cli.screen import Screen
from datasetkit.options.dataset import BuiltOptions, ExportOptions, PreviewOptions, PushOptions, VerifyOptions
from datasetkit.options.engines import WorkerOptions


def verify(options: VerifyOptions, screen: Screen) -> None:
    """Print one line per fault, and exit with code 1 if there is any.

    A published dataset is downloaded and checked one shard at a time, without workers, and nothing of it is kept.
    """
    built = open_built(options.dataset)
    with screen.progress(unit="records", kept="nothing was changed") as bar:
        verification = built.verify(on_progress=bar, **_workers(options))
    screen.show(verification, is_failure=not verification.is_sound)


def stats(options: BuiltOptions, screen: Screen) -> None:
    """Write plots to FOLDER/assets."""
    screen.show(open_built(options.folder).stats())


def preview(options: PreviewOptions, screen: Screen) -> None:
    """Write one HTML file that works offline."""
    screen.show(open_built(options.folder).preview(options.out, options.limit))


def card(options: BuiltOptions, screen: Screen) -> None:
    """Generate FOLDER/README.md from manifest and statistics; sections and front-matter keys that you added stay."""
    screen.show(open_built(options.folder).card())


def export(options: ExportOptions, screen: Screen) -> None:
    """Count everything that the format cannot represent."""
    built = open_built(options.folder)
    with screen.progress(unit="records", kept="nothing was written") as bar:
        result = built.export(
            options.to, options.destination, options.split, options.overwrite, on_progress=bar, **_workers(options)
        )
    screen.show(result)


def push(options: PushOptions, screen: Screen) -> None:
    """Upload a dataset to the Hugging Face Hub in one commit, or to an object store such as S3.

    With --adapter, upload a tuned adapter to the Hub: weights, configuration, facts and card, and no other files of
    the folder.

    To resume an interrupted push, run the same command again; it sends only what is missing. Credentials of an object
    store are read from where its standard tools read them, such as AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL is the endpoint
    of a store other than Amazon's.
    """
    from datasetkit.export.publish.publishing import publish  # imports the Hub client, which only this command needs

    if not options.adapter:
        open_built(str(options.folder))  # explains what is wrong with a folder that is not a dataset
    with screen.progress(unit="bytes", kept="files already sent are kept") as bar:
        pushed = publish(options, bar)
    screen.show(pushed)


def _workers(options: WorkerOptions) -> dict[str, Any]:
    """Return the options of workers that were given."""
    return options.model_dump(include={*WorkerOptions.model_fields}, exclude_unset=True)
