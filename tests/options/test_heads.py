"""Options about attention heads: fields are explained, commands hold what results record, older records load."""

from __future__ import annotations

from typing import Any

import pytest

from datasetkit.core.errors import RecipeError
from datasetkit.options import head_commands as commands
from datasetkit.options import heads
from datasetkit.options.base import Options

NEEDED: dict[str, Any] = {"model": "toyworld:vlm", "data": "scenes", "scores": "scores", "select": "all"}
PARTS: dict[type[Options], tuple[type[Options], ...]] = {
    commands.ScoreCommand: (heads.ScoreOptions,),
    commands.KnockoutCommand: (heads.KnockoutOptions,),
    commands.AblateCommand: (heads.AblationOptions, heads.TextOptions, heads.WritingOptions),
    commands.SparsifyCommand: (heads.SparsityOptions, heads.TextOptions, heads.WritingOptions),
    commands.TuneCommand: (heads.AdapterOptions, heads.TrainingOptions, heads.TextOptions, heads.WritingOptions),
    commands.CompareCommand: (heads.AdapterOptions, heads.TrainingOptions, heads.TextOptions, heads.WritingOptions),
}


def made(kind: type[Options], **changes: Any) -> Options:
    needed = {name: NEEDED[name] for name, field in kind.model_fields.items() if name in NEEDED and name != "scores"}
    if kind is not commands.ScoreCommand and "scores" in kind.model_fields:
        needed["scores"] = NEEDED["scores"]
    return kind.checked(needed | changes)


@pytest.mark.parametrize("kind", [*PARTS, commands.ReportCommand])
def test_every_field_is_explained(kind: type[Options]) -> None:
    assert not [name for name, field in kind.model_fields.items() if not field.description]


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind, parts in PARTS.items() for part in parts])
def test_defaults_of_a_command_are_those_of_what_is_recorded(kind: type[Options], part: type[Options]) -> None:
    assert made(kind).part(part) == part()


def test_further_scores_are_recorded_only_where_there_are_any() -> None:
    assert "scores" not in heads.ScoreOptions().model_dump(mode="json")
    assert heads.ScoreOptions(scores=("lab:Peak",)).model_dump(mode="json")["scores"] == ["lab:Peak"]
    assert "scores" not in heads.ScoreOptions.completed({"prompt": "?"})


@pytest.mark.parametrize(
    ("kind", "changes", "reported"),
    [
        (commands.ScoreCommand, {"scores": ("a:hi",)}, "scores: 'hi' cannot be the name of an additional score"),
        (commands.ScoreCommand, {"scores": "a:One,b:One"}, "scores: name each item once, not One, One"),
        (commands.ScoreCommand, {"scores": "a:One", "by": "Two:last"}, "by: give SCORE:POSITIONS, a score of hi, "),
        (commands.KnockoutCommand, {"heads": "1.2,3"}, "heads: give LAYER.HEAD, both counted from 0, such as 2.6,3.7"),
        (commands.AblateCommand, {"scores": None}, "heads need a ranking"),
        (commands.TuneCommand, {"patience": 2}, "--patience and --validation-split go together"),
        (commands.TuneCommand, {"settings": ["use_dora"]}, "settings: use_dora is not NAME=VALUE"),
        (commands.CompareCommand, {"select": []}, "select: give at least 1 item"),
        (commands.CompareCommand, {"select": ["top-layers:1:2"]}, "'top-layers:1:2' is not a selection"),
    ],
)
def test_what_is_wrong_is_named(kind: type[Options], changes: dict[str, Any], reported: str) -> None:
    with pytest.raises(RecipeError) as caught:
        made(kind, **changes)
    assert reported in str(caught.value)


def test_texts_are_read_as_python_values_are() -> None:
    typed = made(commands.KnockoutCommand, heads="0.1, 2.6", flows="image->last")
    assert typed == made(commands.KnockoutCommand, heads=[(0, 1), (2, 6)], flows=["image -> last"])
    typed = made(commands.CompareCommand, select="layers:1,2", seeds="0, 4", settings=["use_dora=true"])
    assert typed == made(commands.CompareCommand, select=["layers:1,2"], seeds=[0, 4], settings={"use_dora": True})
