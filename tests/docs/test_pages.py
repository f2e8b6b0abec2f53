"""Every block of every page is run, in order, as a reader follows the page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.docs import pages
from tests.docs.session import Session, where

BLOCKS = [block for page in pages.names() for block in pages.blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages.names() if any(block.is_run for block in pages.blocks(page))])
def test_a_page_runs_from_top_to_bottom(page: str, reader: Callable[[str], Session]) -> None:
    session, blocks = reader(page), pages.blocks(page)
    for block in blocks:
        session.write(block)
    for block in blocks:
        session.follow(block)


def test_every_block_names_its_language() -> None:
    known = pages.LANGUAGES | pages.FILES | pages.SHOWN
    assert not [where(block) for block in BLOCKS if block.language not in known]


def test_blocks_are_left_out_for_known_reasons_only() -> None:
    assert not [f"{where(block)}: {block.reason}" for block in BLOCKS if block.reason not in {None, *pages.REASONS}]
