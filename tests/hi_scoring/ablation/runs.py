"""Whole ablation runs of a model in which one head carries all information of images and questions."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from datasetkit.hi_scoring.ablation.ablate import CONDITIONS_NAME, ablate
from datasetkit.hi_scoring.ablation.bench import Bench
from datasetkit.hi_scoring.ablation.plan import Plan
from datasetkit.hi_scoring.ablation.rankings import Ranking
from datasetkit.hi_scoring.ablation.results import CONTRASTS_NAME, CURVES_NAME, FACTS_NAME, Ablations
from datasetkit.hi_scoring.data.examples import Examples
from datasetkit.hi_scoring.model.dialogue import Dialogue
from datasetkit.hi_scoring.model.subject import shape_of
from datasetkit.hi_scoring.model.writing import write
from datasetkit.hi_scoring.runs.drops import DROPS_NAME
from datasetkit.hi_scoring.runs.folder import RUN_NAME
from datasetkit.options.heads import AblationOptions, TextOptions, WritingOptions
from tests.hi_scoring.ablation.asked import asked_row, examples_of
from tests.hi_scoring.scored import TinySubject
from tests.hi_scoring.tiny_models import TinyFamily, tiny
from tests.hi_scoring.tiny_parts import HEAD_WIDTH

PLANTED = (2, 1)
ROWS = 16


@cache
def planted() -> TinyFamily:
    """A tiny LLaVA whose heads return zeros, except one: only through it does the prompt's end depend on the rest."""
    family = tiny("llava")
    model = copy.deepcopy(family.model)
    layer, head = PLANTED
    for number, block in enumerate(model.get_decoder().layers):
        weight = block.self_attn.o_proj.weight.data
        own = weight[:, head * HEAD_WIDTH : (head + 1) * HEAD_WIDTH].clone()
        weight.zero_()
        if number == layer:
            weight[:, head * HEAD_WIDTH : (head + 1) * HEAD_WIDTH] = 40 * own
    # Larger logits, so that its probabilities are clear.
    model.lm_head.weight.data.mul_(30)
    return TinyFamily("llava", model, family.processor)


@dataclass(frozen=True)
class PlantedSubject(TinySubject):
    """That model instead of a loaded one."""

    @property
    def model(self) -> Any:  # type: ignore[override]
        return planted().model


@cache
def questions() -> Examples:
    """Questions whose right answer is the model's response."""
    family = planted()
    examples = examples_of(family, *(asked_row(number) for number in range(ROWS)))
    dialogue = Dialogue(family.processor, family.model.config)
    images, prompts = zip(*((examples.image(one), one.prompt) for one in examples.items), strict=True)
    answers = write(family.model, dialogue, images, prompts, 1)
    items = tuple(replace(one, response=answer) for one, answer in zip(examples.items, answers, strict=True))
    return Examples(examples.data, items, ())


def bench_of(examples: Examples | None = None, seed: int = 0, batch: int = 8) -> Bench:
    writing = WritingOptions(answer_tokens=1)
    return Bench(
        PlantedSubject(), examples or questions(), TextOptions(tasks=("vqa",)), writing, None, seed=seed, batch=batch
    )


def ranking_of(folder: Path, *first: tuple[int, int]) -> Ranking:
    """A table in which these heads come first, the others in order."""
    rest = [(layer, head) for layer in range(4) for head in range(4) if (layer, head) not in first]
    rows = [f"{layer},{head},{-place}" for place, (layer, head) in enumerate([*first, *rest])]
    path = folder / f"{'-'.join(f'{layer}.{head}' for layer, head in first)}.csv"
    path.write_text("layer,head,score\n" + "".join(f"{row}\n" for row in rows))
    subject = PlantedSubject()
    return Ranking.of_table(path, subject.identity, shape_of(subject.config))


def run(folder: Path, ranking: Ranking, bench: Bench | None = None, **more: Any) -> Ablations:
    """Run into a folder; arguments that are not options of the plan go to :func:`ablate`."""
    given = {name: more.pop(name) for name in ("modes", "doses", "draws", "seed") if name in more}
    options = AblationOptions(**({"doses": (0.05,), "draws": 2} | given))
    return ablate(bench or bench_of(), Plan.of([ranking], options, (4, 4)), folder, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a finished run, including conditions."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    expected = {RUN_NAME, CURVES_NAME, CONTRASTS_NAME, FACTS_NAME, DROPS_NAME}
    assert {path.name for path in files if path.parent == folder} == expected
    assert all(path.parent in (folder, folder / CONDITIONS_NAME) for path in files)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
