"""RefCOCO, RefCOCO+, RefCOCOg and RefCLEF: expressions that refer to one object of an image.

Source: lichengunc/refer, ``refer.py``. ``refs(unc).p`` is a pickle of a list of plain dictionaries, written by Python
2, next to ``instances.json`` in COCO's layout. A pickle can run any program, so it is read by an unpickler that knows
no class and no function. The ``file_name`` of a ref is not that of its image. The split is the ref's.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NoReturn

from datasetkit.core.errors import SourceError
from datasetkit.core.given import GivenImage, GivenPhrase, GivenText
from datasetkit.core.label_map import LabelMap
from datasetkit.core.paths import Place
from datasetkit.core.record import Linker
from datasetkit.sources.coco_values import spelled
from datasetkit.sources.given.coco_layout import category_name, label_map_of, license_of, object_of, size_of
from datasetkit.sources.given.indexed import CocoLists, Whole
from datasetkit.sources.given.look import Look, folder_of
from datasetkit.sources.given.reader import BROKEN, Given, Reader

_REFS = re.compile(r"refs\([^()/]+\)\.p(kl|ickle)?")
_INSTANCES = "instances.json"
_PICKLES = (b"\x80", b"(l", b"]")  # a list in protocols 2 and later, 0, and 1
_MOST_BYTES = 2**30
_DAMAGE = (pickle.UnpicklingError, struct.error, EOFError, *BROKEN)


def _refuse(unpickler: Any) -> NoReturn:  # noqa: ARG001 - the signature of handlers
    raise pickle.UnpicklingError("it has more than lists, dictionaries, texts and numbers")


def _append_tuple(unpickler: Any) -> None:
    items = unpickler.pop_mark()  # which replaces append
    unpickler.append(items)


def _shorten(unpickler: Any, count: int) -> None:
    unpickler.stack[len(unpickler.stack) - count :] = [unpickler.stack[len(unpickler.stack) - count :]]


# A bytearray is allocated before it is read. Sets and tuples may be nested in keys until hashing them overflows the C
# stack, so that tuples are read as lists.
_HANDLERS: Mapping[int, Any] = {
    **dict.fromkeys((code[0] for code in (pickle.BYTEARRAY8, pickle.EMPTY_SET, pickle.FROZENSET)), _refuse),
    pickle.TUPLE[0]: _append_tuple,
    pickle.EMPTY_TUPLE[0]: partial(_shorten, count=0),
    pickle.TUPLE1[0]: partial(_shorten, count=1),
    pickle.TUPLE2[0]: partial(_shorten, count=2),
    pickle.TUPLE3[0]: partial(_shorten, count=3),
}


class _PlainUnpickler(pickle._Unpickler):
    """Reads lists, dictionaries, texts and numbers, and nothing else."""

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, **_HANDLERS}

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse every class and function."""
        raise pickle.UnpicklingError(f"it names {module}.{name}; only lists, dictionaries, texts and numbers are read")


class RefcocoReader(Reader):
    """Reads an expression with all objects of its image."""

    summary: ClassVar[str] = "RefCOCO, RefCOCO+, RefCOCOg: refs(...).p next to instances.json"

    def __init__(self, given: Given) -> None:
        path = _refs_file(given.place)
        data = _bytes_of(path)
        self._refs = _plain(data, path)
        self._lists = CocoLists(folder_of(given.place) / _INSTANCES, given.encoding)
        self.indexes = (Whole(path, hashlib.sha256(data).hexdigest()), self._lists)

    @staticmethod
    def recognise(look: Look) -> bool:
        """Return whether there are refs next to their instances."""
        if look.is_folder:
            refs = [name for name in look.names if _REFS.fullmatch(name)]
            return _INSTANCES in look.names and any(_is_pickle(look.at(name)) for name in refs)
        return _is_pickle(look) and (folder_of(look.place) / _INSTANCES).is_file()

    def handles(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers of refs, each with the numbers of its expressions."""
        for number, ref in enumerate(self._refs):
            sentences = _field(ref, "sentences") if isinstance(ref, dict) else None
            yield from ((number, place) for place in range(len(sentences) if isinstance(sentences, list) else 1))

    def read(self, handle: Any) -> GivenImage:
        """Read one expression."""
        number, place = handle
        ref = self._refs[number]
        sentence = _field(ref, "sentences")[place]
        image = self._lists.number(_field(ref, "image_id"))
        if image is None:
            raise ValueError(f"{_INSTANCES} has no image {_field(ref, 'image_id')}")
        entry = self._lists.image(image)
        image_id, key = spelled(entry["id"]), spelled(_field(ref, "ann_id"))
        if image_id is None or key is None:
            raise ValueError("image or object has no id")
        objects = tuple(
            object_of(one, category_name(self._lists, one.get("category_id"))) for one in self._lists.annotations(image)
        )
        if key not in {item.key for item in objects}:
            raise ValueError(f"image {image_id} has no object {key}")
        text = (_field(sentence, "raw") or _field(sentence, "sent")).strip()
        phrase = GivenPhrase((key,), 0, len(text))
        return GivenImage(
            image_id,
            entry=f"{image_id}/{spelled(_field(sentence, 'sent_id')) or f'{number}.{place}'}",
            names=(entry["file_name"],),
            size_wh=size_of(entry),
            texts=(GivenText(text, phrases=(phrase,)),),
            objects=objects,
            links=Linker.HUMAN,
            is_searched=True,
            split=_field(ref, "split"),
            license=license_of(self._lists, entry.get("license")),
        )

    def label_map(self) -> LabelMap:
        """Return the categories of the instances."""
        return label_map_of(self._lists)


def _field(of: Mapping[Any, Any], key: str) -> Any:
    """Return a value by its key, where texts may be bytes; None if it is missing."""
    value = of[key] if key in of else of.get(key.encode())
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _refs_file(place: Place) -> Place:
    """Return the file of the refs, of which a folder may have several.

    Raises:
        SourceError: it has none, or several.

    """
    if not place.is_dir():
        return place
    names = sorted(name for name in Look(place).names if _REFS.fullmatch(name))
    if len(names) != 1:
        found = f"{' and '.join(names)}; give one of them as PATH" if names else "no file such as refs(unc).p"
        raise SourceError(f"{place} has {found}")
    return place / names[0]


def _is_pickle(look: Look) -> bool:
    return look.start.startswith(_PICKLES) and b"sentences" in look.start and b"ann_id" in look.start


def _bytes_of(path: Place) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise SourceError(f"{path} is larger than {_MOST_BYTES:,} bytes")
    return data


def _plain(data: bytes, path: Place) -> list[Any]:
    """Read a pickle of a list.

    Raises:
        SourceError: it is damaged, or holds more than plain data.

    """
    try:
        found = _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()
    except _DAMAGE as error:
        raise SourceError(f"{path} is not a pickle of plain data: {type(error).__name__}: {error}") from None
    if not isinstance(found, list):
        raise SourceError(f"{path} is a pickle of a {type(found).__name__}, not of a list of refs")
    return found
