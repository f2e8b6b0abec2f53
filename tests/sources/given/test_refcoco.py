"""RefCOCO: pickles of Python 2 and 3, hostile pickles, several expressions, splits, broken refs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.protocols import Reading
from datasetkit.core.record import Linker, Maker, PhraseStatus
from tests.sources.given.builders import SIZE_WH, image_bytes, readings_of, source_of, write

# As Python 2 writes {'sent_id': 5, 'raw': 'caf\xc3\xa9'} in protocol 0.
PYTHON_2 = (
    b"(lp0\n(dp1\nS'ann_id'\np2\nI11\nsS'image_id'\np3\nI1\nsS'split'\np4\nS'testA'\np5\nsS'ref_id'\np6\nI3\ns"
    b"S'file_name'\np7\nS'1_11.png'\np8\nsS'sentences'\np9\n(lp10\n(dp11\nS'sent_id'\np12\nI5\ns"
    b"S'raw'\np13\nS'the caf\\xc3\\xa9'\np14\nsS'sent'\np15\nS'the cafe'\np16\nsasa."
)


def refcoco_ref(number: int, *raw: str, **more: Any) -> dict[str, Any]:
    sentences = [{"sent_id": 10 * number + place, "raw": one, "sent": one.lower()} for place, one in enumerate(raw)]
    ref = {"ref_id": number, "ann_id": 11, "image_id": 1, "split": "val", "file_name": "1_11.png"}
    return ref | {"sentences": sentences} | more


def refcoco(folder: Path, refs: Any, name: str = "refs(unc).p") -> Path:
    write(folder / "images/1.png", image_bytes())
    square = {"segmentation": [[4, 4, 14, 4, 14, 14, 4, 14]], "bbox": [4, 4, 10, 10], "category_id": 1, "iscrowd": 0}
    instances = {
        "images": [{"id": 1, "file_name": "1.png", "width": SIZE_WH[0], "height": SIZE_WH[1]}],
        "annotations": [square | {"id": number, "image_id": 1} for number in (11, 12)],
        "categories": [{"id": 1, "name": "box"}],
    }
    write(folder / "refcoco/instances.json", json.dumps(instances))
    write(folder / "refcoco" / name, refs if isinstance(refs, bytes) else pickle.dumps(refs, 2))
    return folder / "refcoco"


def read(place: Path) -> list[Reading | UnusableError]:
    return list(readings_of(place, images=place.parent / "images"))


def test_expression_is_description_and_phrase(tmp_path: Path) -> None:
    found = read(refcoco(tmp_path, [refcoco_ref(1, "Left box!", " a box ")]))
    assert all(isinstance(one, Reading) for one in found)
    records = [one.record for one in found if isinstance(one, Reading)]
    assert [record.description for record in records] == ["Left box!", "a box"]
    for record in records:
        (phrase,) = record.phrases
        assert (phrase.text, phrase.object_ids, phrase.score) == (record.description, (0,), None)
        assert (phrase.status, phrase.provenance) == (PhraseStatus.MATCHED, Linker.HUMAN)
        assert [(item.category, item.area, item.provenance.mask) for item in record.objects] == [
            ("box", 100, Maker.HUMAN)
        ] * 2


def test_pickle_of_python_2(tmp_path: Path) -> None:
    place = refcoco(tmp_path, PYTHON_2)
    (found,) = read(place)
    assert isinstance(found, Reading)
    assert found.record.description == "the caf\u00e9"
    assert [entry.split for entry in source_of(place, images=tmp_path / "images").entries()] == ["testA"]


def test_val_is_validation(tmp_path: Path) -> None:
    place = refcoco(tmp_path, [refcoco_ref(1, "a")])
    assert [entry.split for entry in source_of(place, images=tmp_path / "images").entries()] == ["validation"]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile",)


def test_pickle_with_a_function_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = refcoco(tmp_path, [refcoco_ref(1, "a"), Hostile()])
    with pytest.raises(SourceError, match="only lists, dictionaries, texts and numbers"):
        read(place)
    assert not (tmp_path / "hostile").exists()


def test_pickle_cut_anywhere_is_one_error(tmp_path: Path) -> None:
    data = pickle.dumps([refcoco_ref(1, "a", area=1.5, score=2**40)], 2)
    place = refcoco(tmp_path, data)
    for length in range(len(data)):
        path = write(place / "cut.p", data[:length])
        with pytest.raises(SourceError):
            source_of(path, images=tmp_path / "images", format="refcoco")


def test_pickle_with_bytes_and_tuples(tmp_path: Path) -> None:
    sentence = {b"sent_id": 1, b"raw": b"a box"}
    ref = {b"ann_id": 11, b"image_id": 1, b"sentences": (sentence,), b"split": b"val", b"ids": (1, 2, (), (3, 4, 5, 6))}
    (found,) = read(refcoco(tmp_path, pickle.dumps([ref], 3)))
    assert isinstance(found, Reading)
    assert found.record.description == "a box"


def test_large_bytearray_is_not_allocated(tmp_path: Path) -> None:
    data = pickle.dumps([refcoco_ref(1, "a")], 2)[:-1] + b"\x96" + (2**45).to_bytes(8, "little") + b"."
    with pytest.raises(SourceError, match="more than lists"):
        read(refcoco(tmp_path, data))


def test_deep_key_is_refused(tmp_path: Path) -> None:
    data = pickle.dumps([refcoco_ref(1, "a")], 2)[:-1] + b"})" + b"\x85" * 300_000 + b"K\x01s."
    with pytest.raises(SourceError, match="unhashable"):
        read(refcoco(tmp_path, data))


@pytest.mark.parametrize("tail", [b"", b"r\xff\xff\xff\xff", b"\x82\x01.", b"b.", b"R.", b"Q.", b"\x97."])
def test_damaged_pickle_is_one_error(tmp_path: Path, tail: bytes) -> None:
    data = pickle.dumps([refcoco_ref(1, "a")], 2)[:-1] + tail
    with pytest.raises(SourceError, match="refs"):
        read(refcoco(tmp_path, data))


def test_two_files_of_refs_need_a_choice(tmp_path: Path) -> None:
    refcoco(tmp_path, [refcoco_ref(1, "one")], "refs(google).p")
    place = refcoco(tmp_path, [refcoco_ref(1, "two")])
    with pytest.raises(SourceError, match="give one of them as PATH"):
        read(place)
    (found,) = readings_of(place / "refs(google).p", images=tmp_path / "images")
    assert isinstance(found, Reading)
    assert found.record.description == "one"


BROKEN = [7, {"image_id": 1}, refcoco_ref(2, "a", ann_id=99), refcoco_ref(2, "a", image_id=9)]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_ref_is_dropped_alone(tmp_path: Path, broken: Any) -> None:
    first, second, third = read(refcoco(tmp_path, [refcoco_ref(1, "a"), broken, refcoco_ref(3, "b")]))
    assert isinstance(second, UnusableError)
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)
