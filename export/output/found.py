"""What is in OUT: a published dataset, an unfinished build, or both. Owns whether a build may go on there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from datasetkit.core.documents import load_json
from datasetkit.core.errors import OutputError
from datasetkit.core.paths import Place
from datasetkit.core.text import one_line
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.output.identity import BuildIdentity

JOURNAL = ".build"
STATE = "state.json"
BUILD = "build"  # the key of the build's name in the state

_NAME = re.compile(r"[0-9a-f]{16}")

Task = Literal["build", "retry", "update"]


@dataclass(frozen=True, slots=True)
class Found:
    """Contents of OUT.

    Args:
        published: manifest of the dataset; None without one.
        pending: identity of the unfinished build; None without one.
        task: its kind: build all parts, or rebuild those with failures, or those with changed input.
        build: the name of the unfinished build, which its parts have in their markers; None without one.

    """

    published: Manifest | None
    pending: BuildIdentity | None
    task: Task = "build"
    build: str | None = None

    @classmethod
    def of_state(cls, state: Mapping[str, Any] | None, published: Manifest | None) -> Found:
        """Read the state of an unfinished build, if there is one.

        Raises:
            KeyError, TypeError, ValueError: the state is not of that form.

        """
        if state is None:
            return cls(published, None)
        state = dict(state)
        task, build = state.pop("task", "build"), state.pop(BUILD, None)
        if task not in get_args(Task) or not (build is None or (isinstance(build, str) and _NAME.fullmatch(build))):
            raise ValueError(f"{STATE} has the task {task!r} of the build {build!r}")
        return cls(published, BuildIdentity.from_json(state), task, build)

    @property
    def source_fingerprint(self) -> str | None:
        """The source of the unfinished build; None without one."""
        return None if self.pending is None else self.pending.source_fingerprint

    @property
    def without_models(self) -> Found:
        """What was found, as if no models were used: their weights are known only once they are loaded."""
        return replace(
            self,
            published=None if self.published is None else replace(self.published, models=()),
            pending=None if self.pending is None else replace(self.pending, models=()),
        )

    def holds(self, identity: BuildIdentity) -> bool:
        """Whether the published dataset belongs to a build, ignoring the files of the source."""
        return self.published is not None and BuildIdentity.of(self.published).is_same_but_source(identity)

    def continues(self, identity: BuildIdentity) -> bool:
        """Whether the unfinished build is this one, ignoring the files of the source."""
        return self.pending is not None and self.pending.is_same_but_source(identity)

    def refusal(self, place: Place, identity: BuildIdentity) -> OutputError | None:
        """Return why a build may not continue here, or None; a build that kept nothing may always be replaced."""
        if self.holds(identity) or self.continues(identity):
            return None
        other = self.pending or (BuildIdentity.of(self.published) if self.published else None)
        if other is None or (self.pending is None and self.published and not self.published.shards):
            return None
        return OutputError(
            f"{place} contains another build ({other.difference(identity)}); give another --out, or --overwrite to "
            "replace it"
        )


def read_state(path: Place) -> Mapping[str, Any] | None:
    """Read the state of an unfinished build; None if there is none.

    Raises:
        OutputError: it is damaged.

    """
    try:
        state: Mapping[str, Any] = load_json(path.read_bytes())
        Found.of_state(state, None)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path.parent.parent} contains no build that can be resumed ({one_line(error)}); give another --out, or, "
            f"if {path} is that of a build and was damaged, delete {path.parent}"
        ) from error
    return state


@contextmanager
def reading_build(place: Place) -> Iterator[None]:
    """Turn errors of a damaged build into one line.

    Raises:
        OutputError: the body raised such an error.

    """
    try:
        yield
    except (NotADirectoryError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{place} contains no build ({error}); give another --out") from error


def not_empty(place: Place) -> OutputError:
    """Return the error that OUT contains something else than a build."""
    return OutputError(f"{place} is not empty and contains no build; give another --out")
