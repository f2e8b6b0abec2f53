"""Whole runs: a planted head is found, interrupted runs are resumed, other results stay."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from datasetkit.core.errors import BuiltFolderError, ModelError, OutputError, SourceError
from datasetkit.hi_scoring.ablation.ablate import CONDITIONS_NAME
from datasetkit.hi_scoring.ablation.bench import Bench
from datasetkit.hi_scoring.ablation.plan import Condition
from datasetkit.hi_scoring.ablation.results import FACTS_NAME, Ablations
from datasetkit.hi_scoring.ablation.table import verdicts
from datasetkit.hi_scoring.runs.drops import read_drops
from datasetkit.hi_scoring.scores.results import Head
from tests.hi_scoring.ablation.asked import asked_row, examples_of, with_images
from tests.hi_scoring.ablation.runs import PLANTED, ROWS, bench_of, contents, planted, questions, ranking_of, run
from tests.hi_scoring.killed import moments_tried

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Ablations:
    """One undisturbed run; read-only."""
    return run(folder / "finished", ranking_of(folder, PLANTED))


def test_only_the_planted_head_matters(finished: Ablations) -> None:
    answers = Counter(one.response for one in questions().items)
    assert len(answers) > 5
    curves = finished.curves[finished.curves["draw"].isna()].set_index(["mode", "metric", "rule"])
    assert len(curves) == 3 * 4 * 3
    for mode in ("zero", "mean", "resample"):
        for metric in ("accuracy", "answer_probability"):
            assert curves.loc[(mode, metric, "top"), "shift"] < -0.3, (mode, metric)
            for rule in ("bottom", "random"):
                assert abs(curves.loc[(mode, metric, rule), "shift"]) < 1e-6, (mode, metric)
    top = curves.loc[("zero", "accuracy", "top")]
    # If nothing of the question arrives, all answers are equal.
    assert top["unablated"] == 1
    assert top["figure"] <= max(answers.values()) / ROWS
    assert set(finished.contrasts["worse"]) == {True}
    assert (finished.contrasts["p_holm"] < 0.05).all()
    assert finished.contrasts["p_sets"].between(0, 0.001).all()
    [verdict] = verdicts(finished.contrasts)
    assert (verdict.answer, verdict.metric) == ("holds", "answer_probability")
    assert (verdict.worse, verdict.better, verdict.tested) == (3, 0, 3)
    types = set(finished.curves["metric"]) - {"accuracy", "answer_probability"}
    assert types == {"accuracy:colour", "accuracy:existence"}


def test_ranking_fails_when_random_heads_matter_more(folder: Path) -> None:
    # Every other choice of three heads of layer 2 contains the planted one.
    ranking = ranking_of(folder, (2, 0), (2, 2), (2, 3))
    found = run(folder / "wrong", ranking, modes=("zero",), doses=(0.15,), draws=3)
    [verdict] = verdicts(found.contrasts)
    assert (verdict.answer, verdict.worse, verdict.better) == ("does not hold", 0, 1)


def test_resampling_returns_the_donors_answer(folder: Path) -> None:
    """With one head between question and answer, its outputs on another sample yield that sample's answer."""
    from datasetkit.hi_scoring.ablation.references import donors_of

    bench = bench_of()
    measured = bench.measure(Condition("resample", (Head(*PLANTED),)))
    items, donors = questions().items, donors_of(questions(), 0)
    expected = [float(items[donor].response == one.response) for one, donor in zip(items, donors, strict=True)]
    assert 0 < sum(expected) < ROWS
    assert measured.statistics["accuracy"][:, 0].tolist() == expected


def test_tables_round_trip(folder: Path, finished: Ablations) -> None:
    found = Ablations.load(folder / "finished")
    for table, other in ((found.curves, finished.curves), (found.contrasts, finished.contrasts)):
        assert table.equals(other)
        assert (table.dtypes == other.dtypes).all()
    assert found.facts == finished.facts
    assert (found.facts["n"], found.facts["rows"]) == (ROWS, {"read": ROWS, "used": ROWS, "dropped": 0})
    [top] = [
        one for one in found.facts["trials"] if (one["mode"], one["rule"], len(one["heads"])) == ("mean", "top", 1)
    ]
    assert top["heads"] == [list(PLANTED)]
    assert (folder / "finished" / CONDITIONS_NAME / f"{top['condition']}.safetensors").is_file()


def test_finished_results_load_without_the_model(
    folder: Path, finished: Ablations, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder / "finished")
    monkeypatch.setattr(Bench, "measure", None)
    again = run(folder / "finished", ranking_of(folder, PLANTED))
    assert again.curves.equals(finished.curves)
    assert contents(folder / "finished") == before


def test_interrupted_run_resumes_at_next_condition(tmp_path: Path, folder: Path) -> None:
    options = {"modes": ("mean", "resample"), "draws": 2}
    run(tmp_path / "undisturbed", ranking_of(folder, PLANTED), **options)
    out, done = tmp_path / "out", []

    def stop(stage: str, count: int, _: int) -> None:
        if stage == "conditions":
            done.append(count)
            if len(done) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out, ranking_of(folder, PLANTED), on_progress=stop, **options)
    assert not (out / FACTS_NAME).exists()
    kept = {path: path.stat().st_mtime_ns for path in (out / CONDITIONS_NAME).iterdir()}
    assert len(kept) == 3
    run(out, ranking_of(folder, PLANTED), **options)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_new_doses_and_rankings_run_only_what_is_new(tmp_path: Path, folder: Path) -> None:
    out, ran = tmp_path / "out", []
    run(out, ranking_of(folder, PLANTED), modes=("zero",))
    first = {path.name for path in (out / CONDITIONS_NAME).iterdir()}
    assert len(first) == 1 + 1 + 1 + 2
    measure = Bench.measure

    def noted(self: Bench, condition: Condition | None, *more: object) -> object:
        ran.append(condition)
        return measure(self, condition, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "measure", noted)
        found = run(out, ranking_of(folder, PLANTED), modes=("zero",), doses=(0.05, 0.1))
    assert {len(one.heads) for one in ran if one is not None} == {2}
    assert set(found.curves["heads"]) == {1, 2}


def test_other_results_stay_without_overwrite(tmp_path: Path, folder: Path) -> None:
    out, ranking = tmp_path / "out", ranking_of(folder, PLANTED)
    options = {"modes": ("zero",), "draws": 2}
    run(out, ranking, **options)
    before = contents(out)
    with pytest.raises(OutputError, match="holds other results: batch is 8 there, 4 here"):
        run(out, ranking, bench_of(batch=4), **options)
    assert contents(out) == before
    run(out, ranking, bench_of(batch=4), overwrite=True, **options)
    run(tmp_path / "fresh", ranking, bench_of(batch=4), **options)
    assert contents(out) == contents(tmp_path / "fresh")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files that `datasetkit ablate` did not make"):
        run(tmp_path / "mine", ranking, overwrite=True, **options)


def test_overwrite_measures_equal_results_again(tmp_path: Path, folder: Path) -> None:
    out, ran = tmp_path / "out", []
    options = {"modes": ("zero",), "draws": 2}
    run(out, ranking_of(folder, PLANTED), doses=(0.05, 0.1), **options)
    measure = Bench.measure

    def noted(self: Bench, condition: Condition | None, *more: object) -> object:
        ran.append(condition)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return measure(self, condition, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "measure", noted)
        with pytest.raises(KeyboardInterrupt):
            run(out, ranking_of(folder, PLANTED), overwrite=True, **options)
        # The same command continues with its own measurements.
        run(out, ranking_of(folder, PLANTED), overwrite=True, **options)
    assert len(ran) == 3 + 3
    run(tmp_path / "fresh", ranking_of(folder, PLANTED), **options)
    assert contents(out) == contents(tmp_path / "fresh")


def test_unusable_rows_are_counted_and_named(tmp_path: Path, folder: Path) -> None:
    damaged = asked_row(2) | {"image": {"bytes": b"no image", "path": None}}
    rows = [asked_row(0), asked_row(1), damaged, asked_row(3), asked_row(4), asked_row(5, ("what ?", " ", ""))]
    examples = with_images(examples_of(planted(), *rows), ["a", "a", "b", "b", "c", "d"])
    found = run(tmp_path / "out", ranking_of(folder, PLANTED), bench_of(examples), modes=("zero",))
    assert found.facts["n"] == 3
    assert found.facts["rows"] == {"read": 6, "used": 4, "dropped": 2}
    assert set(found.curves["n"]) <= {1, 2, 3}
    told = [(drop.row, drop.item_id, str(drop.reason)) for drop in read_drops(tmp_path / "out")]
    assert told == [(2, "sample-2", "not_an_image"), (5, "sample-5", "bad_row")]


def test_out_of_memory_keeps_finished_conditions(tmp_path: Path, folder: Path) -> None:
    out, ranking, options = tmp_path / "out", ranking_of(folder, PLANTED), {"modes": ("zero",), "draws": 2}
    measured: list[str] = []

    def run_short(_: object, arguments: tuple[Tensor, ...]) -> None:
        if len(measured) >= 2:
            raise torch.OutOfMemoryError

    handle = planted().model.get_decoder().layers[0].register_forward_pre_hook(run_short)
    try:
        with pytest.raises(ModelError, match=r"not enough memory for sample-\d+ alone.*another device"):
            run(
                out,
                ranking,
                on_progress=lambda stage, *_: measured.append(stage) if stage == "conditions" else None,
                **options,
            )
    finally:
        handle.remove()
    assert len(list((out / CONDITIONS_NAME).iterdir())) == 2
    run(out, ranking, **options)
    run(tmp_path / "undisturbed", ranking, **options)
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_resampling_one_image_is_refused_before_measuring(tmp_path: Path, folder: Path) -> None:
    alone = examples_of(planted(), asked_row(0))
    with pytest.raises(SourceError, match="only one image for vqa"):
        run(tmp_path / "out", ranking_of(folder, PLANTED), bench_of(alone), modes=("zero", "resample"))
    assert not (tmp_path / "out").exists()


def test_damaged_files_are_reported(tmp_path: Path, folder: Path) -> None:
    out, ranking = tmp_path / "out", ranking_of(folder, PLANTED)
    options = {"modes": ("zero",), "draws": 2}
    run(out, ranking, **options)
    part = out / CONDITIONS_NAME / "unablated.safetensors"
    part.write_bytes(part.read_bytes()[:-40])
    assert len(run(out, ranking, **options).curves) > 0
    (out / FACTS_NAME).unlink()
    with pytest.raises(BuiltFolderError, match=r"unablated.safetensors cannot be read: .*remove"):
        run(out, ranking, **options)
    with pytest.raises(BuiltFolderError, match=r"holds no finished ablation: ablation\.json is missing"):
        Ablations.load(out)


def test_captions_and_answers_are_measured_per_sample(folder: Path) -> None:
    examples = examples_of(planted(), tasks=("caption", "vqa"))
    measured = bench_of(examples).measure(None)
    assert list(measured.sample_ids) == [f"sample-{number}" for number in range(4)]
    assert {"bleu4", "rouge_l", "cider", "accuracy", "accuracy:colour", "answer_probability"} <= set(
        measured.statistics
    )
    answers = bench_of(examples_of(planted())).measure(None).statistics["answer_probability"]
    assert answers[:, 1].tolist() == [1, 1, 1, 1]
    assert measured.statistics["answer_probability"] == pytest.approx(answers, abs=1e-5)
    run(
        folder / "captions",
        ranking_of(folder, PLANTED),
        bench_of(examples),
        modes=("resample",),
        doses=(0.05,),
        draws=2,
    )
    with safe_open(folder / "captions" / CONDITIONS_NAME / "unablated.safetensors", framework="numpy") as part:
        assert json.loads(part.metadata()["sample_ids"]) == list(measured.sample_ids)


def test_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Only some of many moments; run by hand with stride 1 to try all of them."""
    assert moments_tried("tests.hi_scoring.ablation.killing", tmp_path, 13) >= 4
