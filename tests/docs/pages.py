"""The pages of the documentation, and the fenced blocks in them. Owns which blocks are run, and why others are not.

A block is run where its language is python, bash or console. Python, toml and yaml blocks that begin with a comment
that is a file name (``# my_lab/models.py``) are written to that file before the page begins. HTML comments above a
block:

- ``<!-- not run: REASON -->`` excludes it, for one of `REASONS`;
- ``<!-- run with: --steps 2 count=4 -->`` makes it small: these values replace those that the block has.

A command with the comment ``# exit code N`` ends with that code. Each line of a text block is a line that the commands
above it printed, with ``...`` for what differs between machines.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from tests.conftest import REPOSITORY

OTHERS = ("README.md", "CONTRIBUTING.md", "examples/photographs/README.md")
LANGUAGES = {"python", "bash", "console"}
FILES = {"toml", "yaml"}
SHOWN = {"text", "json", "markdown"}
REASONS = {
    "downloads gigabytes",
    "installs packages",
    "needs a GPU",
    "needs several machines",
    "opens a browser",
    "runs in the clone",
    "takes minutes",
}
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_COMMENT = re.compile(r"<!-- (not run|run with): (.*?) -->\s*$")
_COMPOUND = re.compile(r"<<|^(for|if|while) ", re.MULTILINE)
_FILE_NAME = re.compile(r"# (\S+\.(?:py|toml|yaml))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Args:
        page: path of its page, from the repository.
        line: where its text begins, from 1.
        language: as the fence names it.
        text: as it stands there.
        reason: why it is not run; None where it is.
        smaller: options and arguments that replace those of the text.

    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None = None
    smaller: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str | None:
        """The file that the block is the text of."""
        found = _FILE_NAME.match(self.text) if self.language in {*FILES, "python"} else None
        return found[1] if found else None

    @property
    def is_run(self) -> bool:
        return self.reason is None and (self.language in LANGUAGES or self.file is not None)

    @property
    def run_text(self) -> str:
        """The text as it is run.

        Raises:
            ValueError: something was to be made smaller that is not there.

        """
        text = self.text
        for name, value in self.smaller:
            pattern = rf"(?<=\s){name} +[^\s\\]+" if name.startswith("-") else rf"\b{name}=[^,\s)]+"
            text, count = re.subn(pattern, f"{name} {value}" if name.startswith("-") else f"{name}={value}", text)
            if not count:
                raise ValueError(f"{self.page}:{self.line} has no {name} to be run with {value}")
        return text


def names() -> list[str]:
    """Every page whose blocks are run, from the repository."""
    found = (path.relative_to(REPOSITORY) for path in (REPOSITORY / "docs").rglob("*.md"))
    return ["README.md", *sorted(path.as_posix() for path in found if "reference" not in path.parts)]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        comment = _COMMENT.search(text, 0, fence.start())
        kind, value = (comment[1], comment[2]) if comment else ("", "")
        indent = len(fence["indent"])
        found.append(
            Block(
                page,
                text.count("\n", 0, fence.start("text")) + 1,
                fence["language"],
                "".join(line[indent:] or "\n" for line in fence["text"].splitlines(keepends=True)),
                value if kind == "not run" else None,
                _pairs(value) if kind == "run with" else (),
            )
        )
    return found


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    words, pairs = shlex.split(text), []
    while words:
        name, equals, value = words.pop(0).partition("=")
        pairs.append((name, value if equals else words.pop(0)))
    return tuple(pairs)


def commands(block: Block) -> list[tuple[str, int]]:
    """The commands of a shell block, continued lines joined, each with the exit code that it ends with.

    A block with a loop or with a text of its own (``<<``) is one command.
    """
    text = block.run_text
    if block.language == "console":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    text = text.replace("\\\n", " ")
    if _COMPOUND.search(text):
        return [(text, 0)]
    found = []
    for line in text.splitlines():
        code = re.search(r"# exit code (\d+)", line)
        command = without_comment(line)
        if command:
            found.append((command, int(code[1]) if code else 0))
    return found


def without_comment(line: str) -> str:
    """A line without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()
