"""Vision towers that run once for a batch: the same logits, fewer runs, nothing left on the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

import pytest
import torch
from torch import Tensor

from datasetkit.hi_scoring.ablation import vision
from datasetkit.hi_scoring.ablation.vision import SeenImages
from tests.hi_scoring.attention.running import LONG, SHORT, batch_of, generate
from tests.hi_scoring.tiny_models import TinyFamily, family_params, tiny


@contextmanager
def counted(family: TinyFamily) -> Iterator[list[int]]:
    """Count the calls of the method that runs the tower."""
    kind, runs = type(family.model.base_model), [0]
    method = kind.get_image_features

    @wraps(method)
    def counting(*arguments: object, **options: object) -> object:
        runs[0] += 1
        return method(*arguments, **options)

    kind.get_image_features = counting
    try:
        yield runs
    finally:
        kind.get_image_features = method


def logits(family: TinyFamily, texts: tuple[str, ...]) -> Tensor:
    return torch.stack(generate(family, batch_of(family, *texts)).logits)


@pytest.mark.parametrize("name", family_params())
def test_batch_is_seen_once_with_equal_logits(name: str) -> None:
    family = tiny(name)
    expected = logits(family, (LONG, SHORT))
    images = SeenImages(family.model)
    with torch.inference_mode(), counted(family) as runs:
        for _ in range(3):
            with images.of((0, 1)):
                assert torch.equal(logits(family, (LONG, SHORT)), expected)
        assert runs == [1]
        with images.of((0,)):
            logits(family, (LONG,))
        assert runs == [2]
        logits(family, (LONG, SHORT))
        assert runs == [3]


def test_features_that_do_not_fit_are_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny("llava")
    # Features of one image: 36 tokens of width 64.
    monkeypatch.setattr(vision, "_LIMIT", 36 * 64 * 4)
    images = SeenImages(family.model)
    with torch.inference_mode(), counted(family) as runs:
        for rows, texts in (((0, 1), (LONG, SHORT)), ((0,), (LONG,)), ((1,), (SHORT,))):
            for _ in range(2):
                with images.of(rows):
                    logits(family, texts)
        assert runs == [2 + 1 + 2]


def test_nothing_is_left_when_the_body_raises() -> None:
    model = tiny("llava").model
    before = dict(vars(model.base_model))

    def failing() -> None:
        with SeenImages(model).of((0,)):
            assert "get_image_features" in vars(model.base_model)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert vars(model.base_model) == before


def test_out_of_memory_frees_features_for_good() -> None:
    family = tiny("llava")
    images, calls = SeenImages(family.model), list[tuple[int, ...]]()

    def seen(rows: tuple[int, ...]) -> Tensor:
        with images.of(rows):
            return logits(family, (LONG, SHORT))

    def short(rows: tuple[int, ...], error: Exception) -> Tensor:
        calls.append(rows)
        if images._features:
            raise error
        return seen(rows)

    with torch.inference_mode(), counted(family) as runs:
        expected = seen((0, 1))
        assert torch.equal(images.giving_way(short)((0, 1), torch.OutOfMemoryError()), expected)
        assert calls == [(0, 1)] * 2
        for _ in range(2):
            seen((0, 1))
        assert runs == [4]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out"), RuntimeError("a bug"), ZeroDivisionError()])
def test_errors_unrelated_to_memory_are_raised(error: Exception) -> None:
    family = tiny("llava")
    images, calls = SeenImages(family.model), list[None]()

    def failing() -> None:
        calls.append(None)
        raise error

    with pytest.raises(type(error)):
        images.giving_way(failing)()
    assert len(calls) == 1
    with torch.inference_mode(), images.of((0, 1)):
        logits(family, (LONG, SHORT))
    with pytest.raises(type(error)):
        images.giving_way(failing)()
    assert len(calls) == (2 if isinstance(error, ZeroDivisionError) else 3)
