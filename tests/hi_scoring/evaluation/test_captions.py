"""Captions compared with references: figures equal those of sacrebleu and pycocoevalcap."""

import sys

import numpy as np
import pytest
import sacrebleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from datasetkit.core.errors import MissingPackageError
from datasetkit.hi_scoring.evaluation.captions import bleu4, caption_statistics
from datasetkit.hi_scoring.evaluation.words import words

PAIRS = [
    ("A red square above a blue circle.", ["a red square above a blue circle"]),
    ("a red square", ["a red square above a blue circle", "A small red square."]),
    ("", ["a green triangle"]),
    ("...", ["a green triangle on grey", "one triangle"]),
    ("zebras graze", ["a man rides a wave on a surfboard"]),
    ("a", ["a dog"]),
    ("a a a a a a", ["a cat on a mat"]),
    ("a man riding a wave on top of a surfboard in the ocean", ["a man rides a wave on a surfboard"]),
    ("a man", ["a man rides a wave on a surfboard", "surfer on a wave", "the man surfs"]),
    ("two cats sleep on a couch", ["two cats sleeping on a pink couch", "two cats sleep on a couch with remotes"]),
    ("a plate of food", ["a plate of food with broccoli", "plate of food", "a white plate of hot food"]),
    ("a dog's bowl", ["the dog's bowl is full", "a bowl for a dog"]),
    ("the train is at the station", ["a train stops at the station", "the train is at the platform"]),
    ("people walk down a street at night", ["people walking down a city street at night"]),
    ("a kitchen with a stove and a sink and a window", ["a kitchen with a stove", "small kitchen"]),
    ("black-and-white photo of a clock", ["a black-and-white photo of a clock tower", "a clock"]),
    ("a baseball player swings a bat", ["a baseball player swinging a bat at a ball"]),
    ("circle blue a above square red a", ["a red square above a blue circle"]),
    ("a giraffe stands next to a tree", ["a giraffe standing next to a tall tree", "giraffe near a tree"]),
    ("a bus drives down the road", ["a red bus drives down the road", "the bus is on the road"]),
    ("one two three four five", ["one two three", "one two three four five six seven"]),
    ("a bathroom", ["a bathroom with a toilet", "a toilet", "bathroom"]),
]


def _lines() -> tuple[list[str], list[list[str]]]:
    said = [" ".join(words(caption)) for caption, _ in PAIRS]
    return said, [[" ".join(words(text)) for text in texts] for _, texts in PAIRS]


def _keyed() -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    said, wanted = _lines()
    return dict(enumerate(wanted)), dict(enumerate([line] for line in said))


@pytest.fixture(scope="module")
def statistics() -> dict[str, np.ndarray]:
    return caption_statistics(*zip(*PAIRS, strict=True))


def _sacrebleu(said: list[str], wanted: list[list[str]]) -> float:
    most = max(map(len, wanted))
    streams = [[lines[place] if place < len(lines) else None for lines in wanted] for place in range(most)]
    return sacrebleu.corpus_bleu(said, streams, tokenize="none", smooth_method="none").score / 100


def test_bleu_equals_sacrebleu_and_pycocoevalcap(statistics: dict[str, np.ndarray]) -> None:
    said, wanted = _lines()
    figure = float(bleu4(statistics["bleu4"].sum(axis=0)))
    assert 0.3 < figure < 0.9
    assert figure == pytest.approx(_sacrebleu(said, wanted), abs=1e-6)
    assert figure == pytest.approx(Bleu(4).compute_score(*_keyed(), verbose=0)[0][3], abs=1e-6)


def test_bleu_of_parts_equals_sacrebleu(statistics: dict[str, np.ndarray]) -> None:
    said, wanted = _lines()
    random = np.random.default_rng(0)
    parts = [random.choice(len(said), size=size) for size in (1, 2, 3, 5, 8, 13) for _ in range(5)]
    figures = bleu4(np.stack([statistics["bleu4"][part].sum(axis=0) for part in parts]))
    expected = [_sacrebleu([said[place] for place in part], [wanted[place] for place in part]) for part in parts]
    assert figures.tolist() == pytest.approx(expected, abs=1e-6)
    assert 0 in expected
    assert len({round(figure, 3) for figure in expected}) > 10


def test_bleu_by_hand() -> None:
    statistics = caption_statistics(["a cat on a mat"], [["a cat sat on a mat", "the big black cat on a red mat"]])
    assert statistics["bleu4"].tolist() == [[5, 4, 2, 0, 5, 4, 3, 2, 5, 6]]
    sums = np.array([[5, 4, 2, 1, 5, 4, 3, 2, 5, 6.0], [0] * 4 + [5, 4, 3, 2, 5, 6], [0] * 9 + [6], [0] * 10])
    expected = [(1 * 1 * 2 / 3 * 1 / 2) ** 0.25 * np.exp(1 - 6 / 5), 0, 0, np.nan]
    assert bleu4(sums).tolist() == pytest.approx(expected, nan_ok=True)


def test_rouge_and_cider_equal_pycocoevalcap(statistics: dict[str, np.ndarray]) -> None:
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        mean, each = scorer.compute_score(*_keyed())
        np.testing.assert_allclose(statistics[name], np.column_stack([each, np.ones(len(each))]))
        assert statistics[name].mean(axis=0)[0] == pytest.approx(mean)
        assert mean > 0.1


def test_rouge_by_hand() -> None:
    found = caption_statistics(["a red cat", ""], [["a cat"], ["a cat"]])["rouge_l"]
    precision, recall, beta = 2 / 3, 1, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    np.testing.assert_allclose(found, [[expected, 1], [0, 1]])


def test_cider_counts_rare_words_over_the_whole_set() -> None:
    alone = caption_statistics(["a cat"], [["a cat"]])
    assert alone["cider"].tolist() == [[0, 1]]
    two = caption_statistics(["a cat", "a cat"], [["a cat"], ["a dog"]])["cider"]
    assert two[0, 0] == pytest.approx(10 / 2)  # unigrams and bigrams match; there are none of three and four
    assert two[1, 0] == 0  # "a" is in every reference


@pytest.mark.parametrize("captions", [["a cat", "a dog"], ["", ""]])
def test_sample_without_reference_words_is_not_measured(captions: list[str]) -> None:
    with_it = caption_statistics(captions, [["a cat", "..."], ["?!"]])
    without = caption_statistics(captions[:1], [["a cat"]])
    for name, rows in with_it.items():
        assert rows[0].tolist() == without[name][0].tolist()
        assert not rows[1].any()


@pytest.mark.parametrize("captions", [[], ["a cat", "a dog"]])
def test_each_caption_needs_its_references(captions: list[str]) -> None:
    with pytest.raises(ValueError, match="zip"):
        caption_statistics(captions, [["a cat"]])


def test_no_samples_have_no_rows() -> None:
    shapes = {name: rows.shape for name, rows in caption_statistics([], []).items()}
    assert shapes == {"bleu4": (0, 10), "rouge_l": (0, 2), "cider": (0, 2)}


def test_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(MissingPackageError, match=r"needs pycocoevalcap.*pip install .*\[tune\]'"):
        caption_statistics(["a cat"], [["a cat"]])
