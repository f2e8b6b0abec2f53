"""All scores of a sample over several views, compared with loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.hi_scoring.scores.formulas.combine import evidence_of, evidence_scores, object_scores
from datasetkit.options.heads import BINARISATIONS, Binarisation, ScoreOptions
from tests.hi_scoring.scores.formulas import references
from tests.precision import TOLERANCE

# Nine image tokens: a view of 2 x 2, a newline (token 4) in no view, a view of 1 x 4.
VIEWS = [torch.tensor([[0, 1], [2, 3]]), torch.tensor([[5, 6, 7, 8]])]
NAN = math.nan


def _sample(seed: int, per_object: bool = False) -> tuple[torch.Tensor, list[torch.Tensor]]:
    random = np.random.default_rng(seed)
    attention = random.integers(0, 5, (3 if per_object else 1, 4, 9)) / 32
    coverage = [random.choice([0, 0, 0.2, 0.5, 1], (3, *view.shape)) for view in VIEWS]
    for part in coverage:
        part[1] = 0 if part is coverage[0] else part[1]  # the second object is not in the first view
    return torch.from_numpy(attention).float(), [torch.from_numpy(part) for part in coverage]


def _expected(attention: np.ndarray, coverage: list[np.ndarray], options: ScoreOptions) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for view, part in zip(VIEWS, coverage, strict=True):
        cells = references.object_cells(part, options.coverage_min)
        if not cells:
            continue
        grid = attention[view.numpy()]
        values = grid.ravel().tolist()
        for name in BINARISATIONS:
            count = references.taken_count(values, len(cells), name, options.quantile)
            own = name == options.binarisation
            found.setdefault("hi" if own else f"hi@{name}", []).append(references.expected_iou(values, cells, count))
            if own:
                found.setdefault("hi_chance", []).append(references.chance_iou(len(values), len(cells), count))
        if grid.sum():
            found.setdefault("hi_soft", []).append(references.soft(grid, part))
            found.setdefault("hi_soft_chance", []).append(references.soft_chance(grid, part))
    scores = {name: float(np.mean(values)) for name, values in found.items()}
    chance = scores.get("hi_chance", NAN)
    scores["hi_lift"] = (scores["hi"] - chance) / (1 - chance) if chance < 1 else NAN
    return scores


@pytest.mark.numeric
@pytest.mark.parametrize("binarisation", BINARISATIONS)
@pytest.mark.parametrize("per_object", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_object_scores_equal_loops(binarisation: Binarisation, per_object: bool, seed: int) -> None:
    attention, coverage = _sample(seed, per_object)
    options = ScoreOptions(binarisation=binarisation, quantile=0.5)
    found = object_scores(attention, VIEWS, coverage, options)
    others = {f"hi@{name}" for name in BINARISATIONS if name != binarisation}
    assert found.keys() == {"hi", "hi_chance", "hi_lift", "hi_soft", "hi_soft_chance", *others}
    for item in range(3):
        for head in range(4):
            row = attention[item if per_object else 0, head].double().numpy()
            expected = _expected(row, [part[item].numpy() for part in coverage], options)
            for name, scores in found.items():
                assert scores.shape == (3, 4)
                assert float(scores[item, head]) == pytest.approx(expected.get(name, NAN), abs=2e-6, nan_ok=True), name


def test_an_object_without_coverage_in_any_view_has_no_scores() -> None:
    coverage = [torch.zeros(2, *view.shape) for view in VIEWS]
    coverage[0][1, 0, 0] = 1.0
    found = object_scores(torch.rand(1, 4, 9), VIEWS, coverage, ScoreOptions())
    for name, scores in found.items():
        assert scores[0].isnan().all(), name
        assert not scores[1].isnan().any(), name


def test_no_objects_give_no_scores_of_the_same_names() -> None:
    attention = torch.rand(1, 4, 9)
    none = object_scores(attention, VIEWS, [torch.zeros(0, *view.shape) for view in VIEWS], ScoreOptions())
    some = object_scores(attention, VIEWS, [torch.ones(1, *view.shape) for view in VIEWS], ScoreOptions())
    assert none.keys() == some.keys()
    assert {tuple(scores.shape) for scores in none.values()} == {(0, 4)}


def test_object_filling_every_view_has_no_lift() -> None:
    found = object_scores(torch.rand(1, 4, 9), VIEWS, [torch.ones(1, *view.shape) for view in VIEWS], ScoreOptions())
    assert found["hi"].eq(1).all()
    assert found["hi_chance"].eq(1).all()
    assert found["hi_lift"].isnan().all()


@pytest.mark.parametrize("binarisation", BINARISATIONS)
@pytest.mark.parametrize("share", [1 / 9, 0.1, 1 / 3])
def test_uniform_attention_has_no_lift_at_all(binarisation: Binarisation, share: float) -> None:
    coverage = [torch.tensor([[[0.9, 0.0], [0.6, 0.1]]]), torch.tensor([[[0.0, 0.2, 0.0, 0.0]]])]
    found = object_scores(torch.full((1, 2, 9), share), VIEWS, coverage, ScoreOptions(binarisation=binarisation))
    assert found["hi_lift"].tolist() == [[0.0, 0.0]]


def test_attention_equal_to_the_mask_scores_1() -> None:
    coverage = [torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])]
    attention = torch.tensor([[[1, 0, 1, 0, 5, 0, 1, 1, 0]]]) / 20
    found = object_scores(attention, VIEWS, coverage, ScoreOptions())
    for name in ("hi", "hi_soft", "hi_lift", "hi@mean", "hi@otsu"):
        assert found[name].item() == pytest.approx(1.0), name


@given(st.integers(0, 2**32 - 1), st.sampled_from(BINARISATIONS))
def test_scores_stay_in_their_ranges(seed: int, binarisation: Binarisation) -> None:
    attention, coverage = _sample(seed)
    for name, scores in object_scores(attention, VIEWS, coverage, ScoreOptions(binarisation=binarisation)).items():
        defined = scores[~scores.isnan()]
        assert (defined <= 1).all(), name
        assert name == "hi_lift" or (defined >= 0).all(), name


@given(st.integers(0, 2**32 - 1), st.permutations(range(9)))
@pytest.mark.slow
def test_scores_do_not_depend_on_token_order(seed: int, order: list[int]) -> None:
    attention, coverage = _sample(seed)
    places = torch.tensor(order)
    moved = torch.empty_like(attention)
    moved[..., places] = attention
    found = object_scores(moved, [places[view] for view in VIEWS], coverage, ScoreOptions())
    for name, scores in object_scores(attention, VIEWS, coverage, ScoreOptions()).items():
        assert torch.equal(found[name].nan_to_num(9), scores.nan_to_num(9)), name


def test_heads_of_many_layers_may_come_in_one_call() -> None:
    attention, coverage = _sample(3)
    together = object_scores(attention, VIEWS, coverage, ScoreOptions())
    for head in range(4):
        alone = object_scores(attention[:, [head]], VIEWS, coverage, ScoreOptions())
        for name, scores in alone.items():
            assert scores[:, 0].tolist() == pytest.approx(together[name][:, head].tolist(), abs=1e-6, nan_ok=True), name


@pytest.mark.numeric
@pytest.mark.usefixtures("in_float64")
def test_evidence_scores_of_two_views() -> None:
    attention = torch.tensor([[0.1, 0.0, 0.0, 0.0, 0.2, 0.0, 0.1, 0.0, 0.0], [0.1] * 9])
    evidence = [torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0, 0.0]])]
    found = evidence_scores(attention, VIEWS, evidence, visible_keys=18.0)
    expected = {
        "ram": [0.2, 0.3],
        "ram_chance": [0.4 * 3 / 9, 0.9 * 3 / 9],
        "ram_relative": [0.5, 1 / 3],
        "ram_relative_chance": [1 / 3, 1 / 3],
        "image_mass": [0.4, 0.9],
        "image_mass_chance": [0.5, 0.5],
        "pointing": [0.0, 1 / 3],  # the first head attends most to the newline
        "pointing_chance": [1 / 3, 1 / 3],
        "entropy": [0.0, NAN],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values, nan_ok=True, rel=0, abs=TOLERANCE), name


def test_entropy_is_the_mean_over_defined_views() -> None:
    attention = torch.tensor([[0.1] * 4 + [0.0] + [0.3, 0.0, 0.3, 0.0], [0.3, 0, 0, 0, 0, 0.3, 0.0, 0.3, 0.0]])
    found = evidence_scores(attention, VIEWS, [torch.ones(view.shape) for view in VIEWS], 9.0)["entropy"]
    assert found.tolist() == pytest.approx([math.log(2), math.log(2) / 2])


def test_evidence_is_binary_union_or_its_coverage() -> None:
    coverage = torch.tensor([[[0.9, 0.2, 0.0]], [[0.0, 0.3, 0.1]], [[0.0, 0.0, 0.0]]])
    union = torch.tensor([[0.9, 0.4, 0.1]])
    assert evidence_of(coverage, union, ScoreOptions()).tolist() == [[1.0, 1.0, 0.0]]
    weighted = evidence_of(coverage, union, ScoreOptions(evidence="coverage"))
    assert weighted.tolist() == [[pytest.approx(share) for share in (0.9, 0.4, 0.1)]]
    assert weighted.dtype == torch.float64


def test_head_without_image_attention_is_undefined() -> None:
    attention = torch.stack([torch.zeros(9), torch.full((9,), 0.1)])
    coverage = [torch.ones(1, *view.shape) * 0.6 for view in VIEWS]
    coverage[0][0, 0, 0] = 0.0
    overlaps = object_scores(attention[None], VIEWS, coverage, ScoreOptions())
    assert all(score[:, 0].isnan().all() for score in overlaps.values())
    assert overlaps["hi"][:, 1].isfinite().all()
    evidence = [evidence_of(part, part[0], ScoreOptions()) for part in coverage]
    masses = evidence_scores(attention, VIEWS, evidence, visible_keys=20.0)
    assert masses["ram"][0] == 0
    assert masses["image_mass"][0] == 0
    for name in ("pointing", "pointing_chance", "image_mass_chance", "ram_relative"):
        assert masses[name][0].isnan()
        assert masses[name][1].isfinite()
