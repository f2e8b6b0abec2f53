"""``python -m tests.docs`` prints every command and snippet of the documentation with the test that runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.docs import pages


def table() -> Iterator[str]:
    """One row per block."""
    yield "| block | begins with | test |"
    yield "|---|---|---|"
    for page in pages.names():
        for block in pages.blocks(page):
            if block.is_run or block.reason is not None:
                first = next(iter(block.text.splitlines()), "").replace("|", "\\|")
                test = f"tests/docs/test_pages.py::test_a_page_runs_from_top_to_bottom[{page}]"
                yield f"| {page}:{block.line} | `{first}` | {f'not run: {block.reason}' if block.reason else test} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{row}\n" for row in table())
