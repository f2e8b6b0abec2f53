"""Which format a place has. Owns the decision, refused where two formats fit, and the words for what was seen."""

from __future__ import annotations

from typing import Any

from datasetkit.core.errors import DatasetkitError, SourceError
from datasetkit.core.text import first_few
from datasetkit.options.sources import READERS, FromOptions
from datasetkit.runtime.registry import naming
from datasetkit.sources.given.look import Look
from datasetkit.sources.given.reader import Given, Reader


def format_of(options: FromOptions) -> str:
    """Return the name of a place's format.

    Raises:
        SourceError: there is no such place, no format fits, or several do.

    """
    if not options.place.exists():
        raise SourceError(f"{options.place} does not exist; give a file or a folder")
    return options.format or find_format(Look(options.place, options.encoding))


def reader_of(name: str, given: Given) -> Reader:
    """Return the reader of a format.

    Raises:
        SourceError: the place cannot be read.
        UnknownNameError: there is no such format.

    """
    kind = READERS.load(name)
    if given.captions is not None and not getattr(kind, "takes_captions", False):
        raise SourceError(f"--captions is not read with {name}, whose files have the texts, if any; leave it out")
    made: Reader = _calling(name, kind, given)
    return made


def find_format(look: Look) -> str:
    """Return the name of the format that the content of a place has.

    Raises:
        SourceError: no format fits, or several do.

    """
    found = [name for name in READERS.names if _calling(name, READERS.load(name).recognise, look)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SourceError(f"{look.place} may be {' or '.join(found)}; give one of them as --format")
    raise SourceError(
        f"{look.place} is in no known format: {seen(look)}; `datasetkit formats` lists those that are known"
    )


def seen(look: Look) -> str:
    """Return in a few words what a place contains."""
    if look.is_folder:
        return f"it holds {first_few(list(look.names))}" if look.names else "it is an empty folder"
    if isinstance(look.first_line, dict) and b"\n" in look.start.strip():
        return f"JSON lines with {first_few(list(look.first_line))}"
    if look.first:
        keys = [key for key in look.first if key]
        element = next((value for value in look.first.values() if isinstance(value, dict)), {})
        kind = f"JSON with {first_few(keys)}" if keys else "a JSON list"
        return f"{kind}, whose first element has {first_few(list(element))}" if element else kind
    if look.root_tag:
        return f"XML that begins with <{look.root_tag}>"
    return f"a file that begins with {look.start[:20]!r}" if look.start else "an empty file"


def _calling(name: str, function: Any, argument: object) -> Any:
    """Call a reader's class or function; any error of a plug-in names it."""
    origin = READERS.origin(name)
    if origin is None:
        return function(argument)
    with naming(origin, passing=(DatasetkitError,)):
        return function(argument)
