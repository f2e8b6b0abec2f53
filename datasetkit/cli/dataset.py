"""``verify``, ``stats``, ``preview``, ``card``, ``export`` and ``push``: what is done with a built dataset."""

from __future__ import annotations

from datasetkit.api.built import open_built
from datasetkit.cli.screen import Screen
from datasetkit.options.dataset import BuiltOptions, ExportOptions, PreviewOptions, PushOptions, VerifyOptions


def verify(options: VerifyOptions, screen: Screen) -> None:
    """Exit code 1 and one line per fault.

    Of a published dataset, one shard at a time is on this disk, and nothing in the end.
    """
    built = open_built(options.dataset)
    with screen.progress(unit="records", kept="nothing was changed") as bar:
        verification = built.verify(on_progress=bar)
    screen.show(verification, is_failure=not verification.is_sound)


def stats(options: BuiltOptions, screen: Screen) -> None:
    """Plots are written to FOLDER/assets."""
    screen.show(open_built(options.folder).stats())


def preview(options: PreviewOptions, screen: Screen) -> None:
    """The page is one HTML file that works without a network."""
    screen.show(open_built(options.folder).preview(options.out, options.limit))


def card(options: BuiltOptions, screen: Screen) -> None:
    """FOLDER/README.md follows from manifest and statistics; your own sections and front-matter keys stay."""
    screen.show(open_built(options.folder).card())


def export(options: ExportOptions, screen: Screen) -> None:
    """What the format cannot hold is counted."""
    built = open_built(options.folder)
    with screen.progress(unit="records", kept="nothing was written") as bar:
        result = built.export(
            options.to, options.destination, options.split, overwrite=options.overwrite, on_progress=bar
        )
    screen.show(result)


def push(options: PushOptions, screen: Screen) -> None:
    """A dataset goes to the Hugging Face Hub, in one commit, or to an object store such as S3.

    With --adapter, a tuned adapter goes to the Hub: weights, configuration, facts and card, and nothing else that is in
    the folder.

    A push that was interrupted is made again by the same command and sends only what is missing. An object store has
    its credentials where its own tools look for them, as AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL names a store that is not
    Amazon's.
    """
    from datasetkit.export.publish.publishing import publish  # the Hub's client, which nothing above needs

    if not options.adapter:
        open_built(options.folder)  # says what a folder is that was never built
    with screen.progress(unit="bytes", kept="what was sent is kept") as bar:
        pushed = publish(options, bar)
    screen.show(pushed)
