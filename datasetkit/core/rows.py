"""Helpers for users of a published dataset: masks and images of plain rows. Owns how rows of any format are read.

A row is a row of ``datasets`` in any of its formats (plain, numpy, torch), a row of a pandas frame, or a mapping from
``pyarrow``'s ``to_pylist``. Each helper needs only the columns that it documents.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasetkit.core.addresses import hub_address
from datasetkit.core.documents import load_json
from datasetkit.core.drawing import draw_overlay
from datasetkit.core.errors import (
    AddressError,
    BuiltFolderError,
    DatasetkitError,
    HubError,
    RecordError,
    UnknownNameError,
)
from datasetkit.core.image import published_pixels
from datasetkit.core.limits import MOST_PIXELS, ImageLimits
from datasetkit.core.mask import Mask, decode_masks
from datasetkit.core.paths import as_place, path_text
from datasetkit.core.pixels import rgb_pixels
from datasetkit.core.record import KeyObject
from datasetkit.core.remote import RemotePath
from datasetkit.core.text import one_line

BoolArray = NDArray[np.bool_]
Row = Any  # values by column; a pandas Series behaves like such a mapping
_OUR_COLUMNS = ("image", "width", "height", "description", "objects", "phrases", "source", "record_id")
_SHARD = re.compile(r"data/(?P<split>\w+)-\d{5}-of-\d{5}\.parquet")
_MOST_SHOWN = 400
_ONE_ROW = "give one row: dataset[0], frame.iloc[0] of a pandas frame, or table.to_pylist()[0] of an Arrow table"
_NO_LIMITS = ImageLimits(max_bytes=2**31, max_pixels=MOST_PIXELS)


def load(
    dataset: str | PathLike[str], split: str | None = None, revision: str | None = None, *, streaming: bool = False
) -> Any:
    """Load a published dataset exactly as ``datasets.load_dataset`` does, and check that datasetkit built it.

    If its card states the columns, as cards of datasetkit do, other datasets are refused before any download.

    Args:
        dataset: ``user/name`` on the Hub (or its URL, such as ``hf://datasets/user/name@revision``), a built folder, or
            the URI that ``datasetkit push`` wrote to.
        split: the split to load; None loads all.
        revision: branch, tag or commit on the Hub.
        streaming: whether to read rows as they are requested, without downloading the dataset first.

    Returns:
        ``datasets.Dataset`` for a split, ``datasets.DatasetDict`` for all splits; their iterable variants when
        streaming.

    Raises:
        BuiltFolderError: there is no dataset, or one without the columns of datasetkit, or it cannot be loaded: there
            is no such split or revision, or a shard is damaged.
        AddressError: ``dataset`` is not a usable path, name or URI, or a revision is given for one without revisions.
        HubError: the Hub has no such dataset, refuses access, or cannot be reached.
        OSError: the store cannot be reached, or refuses access.

    """
    import datasets  # imports pandas and pyarrow, which the other helpers do not need

    name = path_text(dataset)
    for what, value in (("split", split), ("revision", revision)):
        if not isinstance(value, str | datasets.NamedSplit | None):
            raise BuiltFolderError(f"{what} is a {type(value).__name__}; give its name, or None")
    address = None if Path(name).exists() else hub_address(name, "dataset")
    place = as_place(name) if address is None else None
    if isinstance(place, RemotePath):
        if revision is not None:
            raise AddressError(f"revision {revision!r} is for datasets on the Hub; {place} has no revisions")
        files = _shards(place)
        with _in_our_words(name, failure=None):
            loaded = datasets.load_dataset("parquet", data_files=files, split=split, streaming=streaming)
    else:
        if address is None:
            _check_folder(name)
        else:
            address.check_no_folder()
            address = address.at(revision)
            name, revision = address.repo_id, address.revision
        with _in_our_words(name, failure=BuiltFolderError if address is None else HubError):
            announced = datasets.load_dataset_builder(name, revision=revision).info.features
            if announced is not None:
                _check_columns(name, announced)
            loaded = datasets.load_dataset(name, split=split, revision=revision, streaming=streaming)
    for part in loaded.values() if isinstance(loaded, dict) else [loaded]:
        _check_columns(name, part.features or {})
    return loaded


@contextmanager
def _in_our_words(name: str, failure: type[BuiltFolderError] | type[HubError] | None) -> Iterator[None]:
    """Replace errors of other libraries by those of datasetkit, in one line; an ``OSError`` of a store stays one."""
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # the errors of httpx

    try:
        yield
    except DatasetkitError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        RuntimeError,
        LookupError,
        HTTPError,
        datasets.exceptions.DatasetsError,
    ) as error:
        message = f"{name} cannot be loaded: {one_line(error)[:_MOST_SHOWN]}"
        if failure is HubError:
            raise HubError(message, getattr(getattr(error, "response", None), "status_code", None)) from error
        if failure is None and isinstance(error, OSError):
            raise
        raise BuiltFolderError(message) from error


def _check_folder(name: str) -> None:
    """Refuse a folder that is not a built one, before ``datasets`` tries to load it."""
    if not Path(name).is_dir():
        raise BuiltFolderError(f"there is no folder {name}; give a built folder, or user/name of a dataset on the Hub")
    if not any(Path(name).glob("data/*.parquet")):
        raise BuiltFolderError(
            f"{name} has no data/*.parquet, so datasetkit did not build it; build a dataset from it with "
            f"`datasetkit build`, or load it with datasets.load_dataset({name!r})"
        )


def _check_columns(name: str, columns: Collection[str]) -> None:
    missing = [column for column in _OUR_COLUMNS if column not in columns]
    if missing:
        raise BuiltFolderError(
            f"{name} has no column {', '.join(missing)}, so datasetkit did not build it; "
            f"load it with datasets.load_dataset({name!r})"
        )


def _shards(place: RemotePath) -> dict[str, list[str]]:
    """Return the shards of each split, from the manifest."""
    manifest = place / "manifest.json"
    shards: dict[str, list[str]] = {}
    try:
        parts = load_json(manifest.read_bytes())["parts"]
        for path in sorted(shard["path"] for part in parts for shard in part["shards"]):
            match = _SHARD.fullmatch(path)
            if match is None:
                raise BuiltFolderError(f"{manifest} lists {path!r}, which is not the name of a shard")
            shards.setdefault(match["split"], []).append(str(place / path))
    except FileNotFoundError:
        raise BuiltFolderError(f"{manifest} does not exist; give a URI that `datasetkit push` wrote to") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, BuiltFolderError):
            raise
        raise BuiltFolderError(f"{manifest} is not a manifest of datasetkit: {error!r}") from error
    return shards


def masks(row: Row) -> BoolArray:
    """Return the masks of all objects of a row.

    Returns:
        masks of shape (N, H, W), dtype bool, in the order of ``row["objects"]``, on the upright image of H x W px; all
        False for an object without a mask. N is 0 if the row has no objects.

    Raises:
        RecordError: the row is not from datasetkit, or the size of a mask differs from that of the row.
        UnusableError: a mask is damaged.

    """
    found = [_mask(item) for item in _items(row, "objects")]
    size_hw = _size_hw(row)
    result = np.zeros((len(found), *size_hw), dtype=np.bool_)
    result[[mask is not None for mask in found]] = _decoded([mask for mask in found if mask is not None], size_hw)
    return result


def phrase_masks(row: Row, phrase: str | int) -> BoolArray:
    """Return the masks of the objects that a phrase names.

    Args:
        row: row of a dataset.
        phrase: text of the phrase, ignoring case, or its index in ``row["phrases"]``. If the description contains the
            text several times, the objects of all occurrences count.

    Returns:
        masks of shape (N, H, W), dtype bool, of all named objects with a mask, once each, in the order of
        ``row["objects"]``; N is 0 if the objects of the phrase are unknown, or if it is ambiguous, with several
        ``candidates``.

    Raises:
        UnknownNameError: a KeyError; the row has no such phrase, and the message lists its phrases.

    """
    with _as_rows_are():
        wanted = {int(number) for item in _find_phrases(row, phrase) for number in item["object_ids"]}
        found = [_mask(item) for item in _items(row, "objects") if int(item["id"]) in wanted]
    return _decoded([mask for mask in found if mask is not None], _size_hw(row))


def overlay(row: Row, max_side_px: int | None = None) -> Image.Image:
    """Draw the key objects of a row over its image, as in the column ``overlay``, but in full size.

    Args:
        row: row of a dataset.
        max_side_px: largest side of the result, px, which may be smaller by up to a quarter; None keeps the size of the
            image. Images are never enlarged.

    Returns:
        image of mode RGB.

    """
    if max_side_px is not None and not (isinstance(max_side_px, int) and max_side_px > 0):
        raise RecordError(f"max_side_px is {max_side_px!r}; give a number of pixels, or None for the size of the image")
    with _as_rows_are():
        key_objects = [KeyObject(int(item["id"]), _mask(item)) for item in _items(row, "objects") if item["is_key"]]
    pixels = row_image(row)
    return draw_overlay(pixels, key_objects, max_side_px or max(pixels.size))


def row_image(row: Row) -> Image.Image:
    """Return the image of a row, mode RGB, from a column that is decoded, an array, or ``{bytes, path}``.

    Raises:
        RecordError: the column contains none of these, or the size of the image differs from that of the row.

    """
    pixels = image_of(_column(row, "image"))
    if (pixels.height, pixels.width) != _size_hw(row):
        raise RecordError(f"the image has {pixels.width}x{pixels.height} px; the row says {_size_hw(row)[::-1]}")
    return pixels


def image_of(image: Any) -> Image.Image:
    """Read the value of an image column in any format, as an upright image of mode RGB.

    An array of shape (H, W) is read as grey, and one of shape (H, W, 4) as RGBA, as arrays of palette or CMYK images do
    not state their colours.

    Raises:
        RecordError: the value is not an image, an array, or a mapping with bytes.

    """
    if isinstance(image, Mapping) and image.get("bytes") is not None:
        return published_pixels(image["bytes"], image.get("path") or "image", _NO_LIMITS)
    if isinstance(image, Image.Image):
        return rgb_pixels(image, "image")
    if hasattr(image, "__array__"):
        return rgb_pixels(Image.fromarray(_height_first(image)), "image")
    raise RecordError(f"image is a {type(image).__name__}; give an image, an array, or a mapping with its bytes")


def _height_first(image: Any) -> NDArray[Any]:
    """Return an array of shape (H, W) or (H, W, channels), from tensors of shape (channels, H, W), too."""
    array = np.asarray(image)
    if hasattr(image, "numpy") and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    return np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _find_phrases(row: Row, phrase: str | int) -> Sequence[Mapping[str, Any]]:
    phrases = _items(row, "phrases")
    there = ", ".join(f"{index}: {str(item['text'])!r}" for index, item in enumerate(phrases)) or "none"
    if isinstance(phrase, str):
        found = [item for item in phrases if _folded(item["text"]) == _folded(phrase)]
        if not found:
            raise UnknownNameError(f"the row has no phrase {phrase!r}; its phrases are {there}")
        return found
    index = operator.index(phrase) if hasattr(phrase, "__index__") else None
    if index is None:
        raise UnknownNameError(f"a {type(phrase).__name__} is not a phrase; give its text or its index")
    if not -len(phrases) <= index < len(phrases):
        raise UnknownNameError(f"the row has no phrase number {index}; its phrases are {there}")
    return [phrases[index]]


def _folded(text: str) -> str:
    return " ".join(str(text).split()).casefold()


def _decoded(found: Sequence[Mask], size_hw: tuple[int, int]) -> BoolArray:
    for mask in found:
        if mask.size_hw != size_hw:
            raise RecordError(f"a mask has {mask.size_hw} px (height, width); the row says {size_hw}")
    return decode_masks(found, size_hw)


def _mask(item: Mapping[str, Any]) -> Mask | None:
    with _as_rows_are():
        if item["mask"] is None or item["mask"]["counts"] is None:
            return None
        height, width = (int(side) for side in item["mask"]["size"])
        return Mask((height, width), str(item["mask"]["counts"]))


def _size_hw(row: Row) -> tuple[int, int]:
    try:
        return int(_column(row, "height")), int(_column(row, "width"))
    except (TypeError, ValueError) as error:
        raise RecordError(f"height and width of this {type(row).__name__} are not numbers; {_ONE_ROW}") from error


@contextmanager
def _as_rows_are() -> Iterator[None]:
    """Turn missing keys and wrong types into an error about the objects and phrases of the row."""
    try:
        yield
    except DatasetkitError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"an object or a phrase of the row does not fit the schema: {error!r}") from error


def _items(row: Row, name: str) -> Sequence[Mapping[str, Any]]:
    """Return a column that is a list of objects or phrases."""
    found = _column(row, name)
    if not isinstance(found, list | tuple | np.ndarray) or not all(isinstance(item, Mapping) for item in found):
        raise RecordError(f"{name} is a {type(found).__name__}, not a list of {name}; {_ONE_ROW}")
    return found  # type: ignore[return-value]


def _column(row: Row, name: str) -> Any:
    try:
        return row[name]
    except (KeyError, IndexError, TypeError) as error:
        raise RecordError(
            f"this {type(row).__name__} has no column {name!r}; give a row, such as dataset[0]"
        ) from error
