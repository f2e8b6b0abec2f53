"""Files of facts: plain values as JSON. Owns the one way to read them again, and the error that names file and key.

Needs neither tables nor arrays, so that faults of a folder are reported before anything heavy is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from datasetkit.core.documents import DocumentError, read_json
from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.text import one_line

_MOST_SHOWN = 80
Count = Annotated[int, Field(ge=0, lt=2**53)]
Size = Annotated[int, Field(ge=1, lt=2**16)]
Text = Annotated[str, Field(min_length=1)]


class Facts(BaseModel):
    """What a file of facts must hold; further keys stay as they are."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    FORMAT: ClassVar[int | None] = None
    """Value that the key ``format`` must have; None where files have no such key."""


class ModelFacts(Facts):
    """The identity of a model."""

    id: Text
    revision: str | None
    sha256: str | None


def read_facts(path: Path, kind: type[Facts], what: str, again: str) -> dict[str, Any]:
    """Read plain values, and check them.

    Args:
        path: path of the file.
        kind: what the file must contain.
        what: the results that it belongs to, such as "head scores", for messages.
        again: what to do about a damaged file, such as "score it again", for messages.

    Returns:
        the values as they were written.

    Raises:
        BuiltFolderError: the file is missing, not JSON, of another format, or has a value that datasetkit does not
            write; the message names file and key.

    """
    try:
        value = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        told = f"{path.name} is missing" if path.parent.is_dir() else "there is no such folder"
        raise BuiltFolderError(f"{path.parent} holds no finished {what}: {told}; {again}") from error
    except OSError as error:
        raise BuiltFolderError(f"{path} cannot be read: {error.strerror}; {again}") from error
    except DocumentError as error:
        raise BuiltFolderError(f"{error}; {again}") from error
    return checked_facts(path, value, kind, what, again)


def checked_facts(path: Path, value: Any, kind: type[Facts], what: str, again: str) -> dict[str, Any]:
    """Check values that were read from a file; see :func:`read_facts`."""
    found = value.get("format") if isinstance(value, dict) else None
    if kind.FORMAT is not None and found != kind.FORMAT:
        raise BuiltFolderError(
            f"{path.parent} holds {what} of format {_shown(found)}; this datasetkit reads format {kind.FORMAT}"
        )
    try:
        kind.model_validate(value)
    except ValidationError as error:
        raise BuiltFolderError(f"{path} is damaged: {_first_mistake(error)}; {again}") from error
    return dict(value)


def checked_text(path: Path, texts: Mapping[str, str], key: str, kind: Any, again: str) -> Any:
    """Read JSON that is one of the texts in a file's metadata, and check that it is of a type.

    Raises:
        BuiltFolderError: it is missing, or of another type.

    """
    try:
        return TypeAdapter(kind).validate_json(texts.get(key, ""), strict=True)
    except ValidationError as error:
        raise BuiltFolderError(f"{path} is damaged: {key} of its metadata, {_first_mistake(error)}; {again}") from error


def _first_mistake(error: ValidationError) -> str:
    [mistake, *_] = error.errors(include_url=False)
    place = ".".join(map(str, mistake["loc"])) or "the whole"
    if mistake["type"] == "missing":
        return f"{place} is missing"
    message = mistake["msg"].removeprefix("Value error, ")
    return f"{place} is {_shown(mistake['input'])}: {message[:1].lower()}{message[1:]}"


def _shown(value: object) -> str:
    text = one_line(json.dumps(value, default=str))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
