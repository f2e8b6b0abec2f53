"""Pushing with the real clients to the test Hub: files come back unchanged, and nothing else is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from datasetkit.core.errors import AddressError, BuiltFolderError, HubError
from datasetkit.export.dataset.manifest import Manifest
from datasetkit.export.dataset.reading import iter_rows
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Plan
from tests.export.folders import bare_record, record, rows_of, write_folder
from tests.export.publish.pushing import HASTY, NAME, expected, held, local, push_to, sent_objects
from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.pipeline.builders import put

pytestmark = pytest.mark.slow


def plan_for(hub: HubServer, folder: Path, **options: object) -> Plan:
    values: dict[str, object] = {"endpoint": hub.endpoint, "token": hub.token, "patience": HASTY, **options}
    return push(folder, NAME, dry_run=True, **values)  # type: ignore[arg-type]


def rows_of_folder(folder: Path, split: str) -> list[dict[str, object]]:
    return [row for shard, row in iter_rows(folder, Manifest.read(folder)) if shard.split == split]


def undecoded(split: datasets.Dataset | datasets.IterableDataset) -> list[dict[str, object]]:
    for column in ("image", "overlay"):
        split = split.cast_column(column, datasets.Image(decode=False))
    return list(split)


def test_what_is_pushed_loads_as_it_was_built(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    pushed = push_to(hub, scenes, tag="v1")
    assert held(hub, "v1") == expected(hub, scenes)
    assert (pushed.sent_files, pushed.skipped_files) == (len(local(scenes)), 0)
    assert pushed.sent_bytes == sum(map(len, expected(hub, scenes).values()))
    push_to(hub, fewer_scenes)
    for split in ("train", "test"):
        wanted = rows_of_folder(fewer_scenes, split)
        assert undecoded(datasets.load_dataset(NAME, split=split)) == wanted
        assert undecoded(datasets.load_dataset(NAME, split=split, streaming=True)) == wanted
        assert undecoded(datasets.load_dataset(NAME, split=split, revision="v1")) == rows_of_folder(scenes, split)


def test_one_commit_carries_everything(hub: HubServer, scenes: Path) -> None:
    pushed = push_to(hub, scenes)
    first, *before = hub.repository(NAME).history()
    assert (first.oid, len(before)) == (pushed.commit, 1)
    assert first.title == "Push 8 records with datasetkit " + Manifest.read(scenes).code_version
    assert pushed.url == f"{hub.endpoint}/datasets/{NAME}"


def test_a_second_push_of_the_same_folder_sends_nothing(hub: HubServer, scenes: Path) -> None:
    once = push_to(hub, scenes)
    hub.traffic.clear()
    again = push_to(hub, scenes)
    assert (again.commit, again.sent_files, again.skipped_files) == (once.commit, 0, once.sent_files)
    assert not {"commit", "preupload", "lfs-batch", "lfs-put", "lfs-part"} & hub.traffic.counts().keys()


def test_a_changed_small_file_of_equal_size_is_sent(hub: HubServer, scenes: Path) -> None:
    push_to(hub, scenes)
    recipe = (scenes / "recipe.yaml").read_bytes()
    hub.repository(NAME).write({"recipe.yaml": recipe[:-2] + b"?\n"})
    assert push_to(hub, scenes, replace=["recipe.yaml"]).sent_files == 1
    assert held(hub)["recipe.yaml"] == recipe


def test_a_shard_that_somebody_deleted_is_not_deleted_again(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    before, after = ({shard.path for shard in Manifest.read(folder).shards} for folder in (scenes, fewer_scenes))
    gone = min(before - after)
    hub.repository(NAME).write({}, delete=[gone])
    assert push_to(hub, fewer_scenes).deleted_files == len(before - after - {gone})
    assert held(hub) == expected(hub, fewer_scenes)


def test_only_shards_of_the_push_before_are_deleted(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    theirs = {"notes.md": b"mine", "data/extra.csv": b"a,b", "assets/logo.png": b"\x89PNG\0logo"}
    hub.repository(NAME).write(theirs)
    pushed = push_to(hub, fewer_scenes)
    shards = {path for path in held(hub) if path.endswith(".parquet")}
    assert shards == {shard.path for shard in Manifest.read(fewer_scenes).shards}
    assert pushed.deleted_files == 3
    assert {path: held(hub)[path] for path in theirs} == theirs


def test_obsolete_generated_files_are_deleted(hub: HubServer, tmp_path: Path) -> None:
    write_folder(tmp_path / "many", {"train": [rows_of([record(1), record(2, license_name="mit")])]})
    write_folder(tmp_path / "bare", {"train": [rows_of([bare_record(3)])]})
    generated = {"LICENSE", "assets/samples.jpg", "assets/categories.png", "assets/objects.png", "assets/phrases.png"}
    push_to(hub, tmp_path / "many")
    assert generated < held(hub).keys()
    hub.repository(NAME).write({"assets/theirs.png": b"theirs"})
    stale = generated - {"assets/samples.jpg"}
    assert set(plan_for(hub, tmp_path / "bare").deletions) == stale
    assert push_to(hub, tmp_path / "bare").deleted_files == len(stale)
    assert {path for path in held(hub) if path == "LICENSE" or path.startswith("assets/")} == {
        "assets/samples.jpg",
        "assets/theirs.png",
    }


def test_a_manifest_on_the_hub_cannot_make_us_delete_other_files(hub: HubServer, scenes: Path) -> None:
    push_to(hub, scenes)
    value = json.loads(held(hub)["manifest.json"])
    names = ["notes.md", ".gitattributes", "data/../notes.md", "data/extra.csv"]
    value["parts"][0]["shards"] += [{"path": name} for name in names]
    value["files"] += [*names, "assets/logo.png", "assets/../notes.md", 1]
    hub.repository(NAME).write(
        {
            "manifest.json": json.dumps(value).encode(),
            "notes.md": b"mine",
            "data/extra.csv": b"a,b",
            "assets/logo.png": b"mine",
        }
    )
    assert plan_for(hub, scenes).deletions == ()


def test_what_people_wrote_into_the_card_stays(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    card = held(hub)["README.md"].decode()
    edited = card.replace("pretty_name:", "my_key: kept\npretty_name:", 1) + "\n## Thanks\n\nTo my cat.\n"
    hub.repository(NAME).write({"README.md": edited.encode()})
    push_to(hub, fewer_scenes)
    card = held(hub)["README.md"].decode()
    assert "my_key: kept" in card
    assert "To my cat." in card
    assert "num_examples: 3" in card
    assert datasets.load_dataset(NAME, split="train").num_rows == 3
    commits = len(hub.repository(NAME).history())
    push_to(hub, fewer_scenes)
    assert len(hub.repository(NAME).history()) == commits


def test_card_changes_of_folder_and_hub_are_merged(hub: HubServer, own_scenes: Path) -> None:
    card = own_scenes / "README.md"
    first = card.read_text() + "\n## Mine\n\nabc\n\n## Both\n\nabc\n"
    card.write_text(first)
    push_to(hub, own_scenes)
    theirs = held(hub)["README.md"].decode().replace("## Both\n\nabc", "## Both\n\ntheirs\n\n## Theirs\n\nabc")
    hub.repository(NAME).write({"README.md": theirs.encode()})
    card.write_text(first.replace("abc", "abc changed").replace("pretty_name: I", "pretty_name: C"))
    assert plan_for(hub, own_scenes).card.kept == ("## Both",)
    pushed = push_to(hub, own_scenes)
    assert (pushed.card.is_merged, pushed.card.kept) == (True, ("## Both",))
    text = held(hub)["README.md"].decode()
    assert re.findall(r"^## (Mine|Both|Theirs)\n\n(.*)$", text, re.MULTILINE) == [
        ("Mine", "abc changed"),
        ("Both", "theirs"),
        ("Theirs", "abc"),
    ]
    assert "pretty_name: Cmages" in text
    commits = len(hub.repository(NAME).history())
    push_to(hub, own_scenes)
    assert len(hub.repository(NAME).history()) == commits


def test_an_existing_readme_keeps_its_text_and_license(hub: HubServer, scenes: Path) -> None:
    hub.create(NAME).write({"README.md": b"---\nlicense: mit\n---\n# Theirs\n"})
    pushed = push_to(hub, scenes)
    text = held(hub)["README.md"].decode()
    assert pushed.card.kept == ("license",)
    assert "license: mit" in text
    assert text.index("# Theirs") < text.index("## What is in it")
    assert f'DATASET = "{NAME}"' in text


def test_a_dry_run_tells_all_and_sends_nothing(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    planned = plan_for(hub, scenes, tag="v1")
    assert planned.creates_repository
    assert dict(planned.sent) == {path: len(data) for path, data in expected(hub, scenes).items()}
    assert planned.commits == 1
    assert {request.method for request in hub.traffic.requests} == {"GET"}
    push_to(hub, scenes)
    hub.traffic.clear()
    planned = plan_for(hub, fewer_scenes, revision="next")
    assert planned.creates_branch
    assert not planned.creates_repository
    assert len(planned.deletions) == 3
    assert {request.method for request in hub.traffic.requests} == {"GET"}
    assert "next" not in hub.repository(NAME).branches
    assert plan_for(hub, scenes).commits == 0


def test_a_branch_is_made_and_main_stays(hub: HubServer, scenes: Path, fewer_scenes: Path) -> None:
    push_to(hub, scenes)
    hub.traffic.clear()
    push_to(hub, fewer_scenes, revision="next")
    assert held(hub) == expected(hub, scenes)
    assert {path for path in held(hub, "next") if path.endswith(".parquet")} == {
        shard.path for shard in Manifest.read(fewer_scenes).shards
    }


@pytest.mark.parametrize("private", [True, False])
def test_who_may_see_it(hub: HubServer, scenes: Path, private: bool) -> None:
    push_to(hub, scenes, private=private)
    assert hub.repository(NAME).private is private
    hub.traffic.clear()
    with pytest.raises(HubError, match=r"make it .* in its settings"):
        push_to(hub, scenes, private=not private)
    assert {request.method for request in hub.traffic.requests} == {"GET"}


def test_a_public_repository_created_meanwhile_gets_no_files(hub: HubServer, scenes: Path) -> None:
    hub.faults.add(Fault("^create ", "call", call=lambda: hub.create(NAME, private=False)))
    with pytest.raises(HubError, match="user/scenes is public; make it private"):
        push_to(hub, scenes, private=True)
    assert sent_objects(hub) == 0
    assert held(hub) == {}


def test_progress_adds_up(hub: HubServer, scenes: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {"checking": [], "sending": []}
    push_to(hub, scenes, on_progress=lambda stage, done, total: seen[stage].append((done, total)))
    for stage, files in (("checking", local(scenes)), ("sending", expected(hub, scenes))):
        size = sum(map(len, files.values()))
        assert seen[stage][-1] == (size, size)
        assert seen[stage] == sorted(seen[stage])


def spoil_shard(folder: Path) -> None:
    path = folder / Manifest.read(folder).shards[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_shard, "does not match the manifest"),
        (lambda folder: put(folder, {".build/exchange.json": "{}"}), "is not finished"),
        (lambda folder: (folder / "statistics.json").unlink(), "has no statistics.json"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "data" / "test-00000-of-00001.parquet").unlink(), "has no data/test-00000"),
        (lambda folder: (folder / "README.md").unlink(), r"has no README\.md; `datasetkit card"),
        (
            lambda folder: (folder / "README.md").write_text("---\nlicense: [\n---\n# T\n"),
            "README.md cannot be published",
        ),
        (lambda folder: (folder / "README.md").write_text("---\nlicense: mit\n# T\n"), "README.md cannot be published"),
        (lambda folder: (folder / "README.md").write_text("# T\n"), "README.md cannot be published"),
        (lambda folder: (folder / "README.md").write_bytes(b"\xff"), "README.md cannot be published"),
    ],
)
def test_a_folder_that_is_not_whole_is_not_pushed(
    hub: HubServer, own_scenes: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(own_scenes)
    for act in (plan_for, push_to):
        with pytest.raises(BuiltFolderError, match=message) as caught:
            act(hub, own_scenes)
        assert "\n" not in str(caught.value)
    assert {request.method for request in hub.traffic.requests} <= {"GET"}


def test_a_dataset_without_records_is_not_pushed(hub: HubServer, tmp_path: Path) -> None:
    write_folder(tmp_path / "empty", {})
    with pytest.raises(BuiltFolderError, match="contains no records"):
        push_to(hub, tmp_path / "empty")
    assert {request.method for request in hub.traffic.requests} <= {"GET"}


def test_a_shard_path_that_leaves_the_folder_is_not_read(hub: HubServer, own_scenes: Path) -> None:
    path = own_scenes / "manifest.json"
    path.write_text(path.read_text().replace("data/test-00000-of-00001.parquet", "../secret"))
    (own_scenes.parent / "secret").write_text("secret")
    with pytest.raises(BuiltFolderError, match="is not the name of a shard"):
        push_to(hub, own_scenes)


def test_shards_of_others_would_mix_with_ours(hub: HubServer, scenes: Path) -> None:
    hub.create(NAME).write({"data/train-old.parquet": b"PAR1\0"})
    with pytest.raises(HubError, match=r"has data/train-old\.parquet, which datasetkit did not write"):
        push_to(hub, scenes)
    assert sent_objects(hub) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("README.md", b"---\na: [\n---\n", "README.md of user/scenes cannot be kept"),
        ("README.md", b"---\na: " + b"[" * 100_000 + b"\n---\n", "cannot be kept"),
        ("README.md", b"\xff", "cannot be kept"),
    ],
    ids=["bad YAML", "deep YAML", "no text"],
)
def test_what_cannot_be_read_on_the_hub_is_not_replaced(
    hub: HubServer, scenes: Path, name: str, content: bytes, message: str
) -> None:
    hub.create(NAME).write({name: content})
    for act in (plan_for, push_to):
        with pytest.raises(HubError, match=message) as caught:
            act(hub, scenes, revision="next")
        assert "\n" not in str(caught.value)
    assert {request.method for request in hub.traffic.requests} == {"GET"}
    assert held(hub)[name] == content


@pytest.mark.parametrize("name", ["scenes", "a/b/c", "user/..", "user/ds.git"])
def test_names_that_no_repository_can_have(hub: HubServer, scenes: Path, name: str) -> None:
    with pytest.raises((AddressError, HubError), match=name.replace(".", r"\.")):
        push(scenes, name, endpoint=hub.endpoint, token=hub.token, dry_run=True)
    assert not hub.traffic.requests
