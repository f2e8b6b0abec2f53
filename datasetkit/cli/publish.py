"""``datasetkit push``: publish a built folder, or a tuned adapter."""

from __future__ import annotations

from datasetkit.api.built import open_built
from datasetkit.cli.screen import Screen
from datasetkit.export.publish.publishing import publish
from datasetkit.options.dataset import PushOptions


def push(options: PushOptions, screen: Screen) -> None:
    """A dataset goes to the Hugging Face Hub, in one commit, or to an object store such as S3.

    With --adapter, a tuned adapter goes to the Hub: weights, configuration, facts and card, and nothing else that is in
    the folder.

    A push that was interrupted is made again by the same command and sends only what is missing. An object store has
    its credentials where its own tools look for them, as AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL names a store that is not
    Amazon's.
    """
    if not options.adapter:
        open_built(options.folder)  # says what a folder is that was never built
    with screen.progress(unit="bytes", kept="what was sent is kept") as bar:
        pushed = publish(options, bar)
    screen.show(pushed)
