"""When a build stops instead of dropping image after image, and what happens if memory runs out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageFile

import datasetkit.pipeline.finishing
from datasetkit.core.errors import SourceFailedError
from datasetkit.core.image import load_image
from datasetkit.core.ledger import Drop, DropReason
from datasetkit.export.output.part import Outcome
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.sources import RowsOptions
from datasetkit.pipeline.build import build
from datasetkit.pipeline.failures import Failures, PartFailures, check_part
from datasetkit.pipeline.progress import Progress
from tests.pipeline.builders import built, contents, folder_recipe, make_image, put, reasons
from tests.pipeline.sources import coco_of, source_of

KEPT = Outcome({}, "train", 0, (), ())


def dropped(reason: DropReason, *, is_unreachable: bool = False) -> Outcome:
    return Outcome(None, "", 0, (Drop("record", "a", reason, "why"),), (), is_unreachable=is_unreachable)


FAILED = dropped(DropReason.UNREADABLE, is_unreachable=True)
MISSING, SEEN = dropped(DropReason.MISSING), dropped(DropReason.DUPLICATE_ID)


@pytest.mark.parametrize(
    ("most", "outcomes", "stops_at"),
    [
        (None, [FAILED] * 25, 20),
        (None, [KEPT, *[FAILED] * 19, KEPT] * 3, None),
        (None, [*[FAILED] * 19, SEEN, FAILED], 21),
        (None, [*[FAILED] * 19, MISSING, FAILED], None),
        (None, [MISSING] * 200, None),
        (None, [*[KEPT] * 9, FAILED] * 20, 110),
        (None, [*[KEPT] * 24, FAILED] * 20, None),
        (1, [KEPT, FAILED], 2),
        (3, [FAILED, KEPT, FAILED, KEPT, FAILED], 5),
        (300, [FAILED] * 299, None),
    ],
)
def test_where_a_build_stops(most: int | None, outcomes: list[Outcome], stops_at: int | None) -> None:
    failures = PartFailures()
    for number, outcome in enumerate(outcomes, start=1):
        failures = failures.with_outcome(outcome)
        if number == stops_at:
            with pytest.raises(SourceFailedError, match="could not be read, the last: why; finished parts are kept"):
                check_part(failures, number, most)
            return
        check_part(failures, number, most)
    assert stops_at is None


def found(*outcomes: Outcome) -> PartFailures:
    failures = PartFailures()
    for outcome in outcomes:
        failures = failures.with_outcome(outcome)
    return failures


@pytest.mark.parametrize("order", [range(9), reversed(range(9)), [4, 0, 8, 2, 6, 1, 3, 5, 7]])
def test_run_of_failures_spans_parts(order: Iterable[int]) -> None:
    parts = [found(*[FAILED] * 3), found(KEPT, FAILED, FAILED), *[found(*[FAILED] * 3)] * 5, found(FAILED, KEPT)]
    parts += [found(KEPT)]
    failures = Failures(None)
    for index in order:
        failures.add(index, parts[index])
    assert sorted(failures.parts) == list(range(8))
    longer = Failures(None)
    for index, part in enumerate(parts[:7]):
        longer.add(index, part)
    with pytest.raises(SourceFailedError, match=r"^20 images in a row"):
        longer.add(7, found(FAILED, FAILED, FAILED, KEPT))


def test_failures_of_all_parts_are_counted() -> None:
    failures = Failures(3)
    failures.add(5, found(FAILED, KEPT, FAILED))
    failures.add(1, found(KEPT))
    with pytest.raises(SourceFailedError, match=r"^3 images could not be read"):
        failures.add(0, found(KEPT, FAILED, KEPT))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco", "folder", "parquet", "webdataset"])
def test_unmounted_share_stops_a_build(tmp_path: Path, name: str) -> None:
    recipe, share = source_of(tmp_path, name)

    def unmount(progress: Progress) -> None:
        if progress.done == 1 and share.exists():
            share.rename(tmp_path / "away")

    run = RunOptions(out=tmp_path / "out", workers=1, max_failures=3 if name == "webdataset" else None)
    with pytest.raises(SourceFailedError) as caught:
        build(recipe, run, unmount)
    assert caught.value.exit_code == 3
    assert "call build with the same arguments" in str(caught.value)
    assert not (tmp_path / "out/manifest.json").exists()
    (tmp_path / "away").rename(share)
    _, found = built(recipe, tmp_path / "out")
    assert reasons(tmp_path / "out") == {}
    built(recipe, tmp_path / "anew")
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")
    assert found


@pytest.mark.slow
def test_partly_present_set_still_builds(tmp_path: Path) -> None:
    recipe = coco_of(tmp_path, 60)
    for number in range(3, 60):
        (tmp_path / "images" / f"{number}.png").unlink()
    assert len(built(recipe, tmp_path / "out")[1]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("where", ["load_image", "draw_overlay", "record_to_row"])
def test_record_without_memory_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    recipe = folder_recipe(put(tmp_path / "in", {f"{n}.png": make_image(n, (20 + n, 20)) for n in range(4)}))
    module = "datasetkit.sources.rows" if where == "load_image" else "datasetkit.pipeline.finishing"
    real = getattr(datasetkit.pipeline.finishing, where, load_image)

    def short(*given: Any) -> Any:
        made = real(*given)
        if "2.png" in str(given) or getattr(given[0], "record_id", "") == "2.png" or getattr(made, "height", 0) == 22:
            raise MemoryError
        return made

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{where}", short)
        built(recipe, tmp_path / "out")
    assert reasons(tmp_path / "out") == {"2.png": "out_of_memory"}
    assert len(built(recipe, tmp_path / "out", retry_failed=True)[1]) == 4


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory error when reading image file")])
def test_out_of_memory_is_not_a_truncated_image(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def short(*_: object) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", short)
    with pytest.raises(Exception, match=r"memory ran out while a\.png was decoded") as caught:
        load_image(make_image(), "a.png")
    assert caught.value.reason is DropReason.OUT_OF_MEMORY


class Rows:
    """Rows of a plug-in, one of which needs more memory than there is."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: int) -> dict[str, Any]:
        if place == 1 and self.is_short:
            raise MemoryError
        return {"image": make_image(place), "text": "a cat"}

    def fingerprint(self) -> str:
        return "rows"

    is_short = False


@pytest.mark.slow
def test_plug_in_out_of_memory_loses_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.checked({"source": RowsOptions.of(Rows())})
    monkeypatch.setattr(Rows, "is_short", True)
    built(recipe, tmp_path / "out")
    assert list(reasons(tmp_path / "out").values()) == ["out_of_memory"]
