"""Pushing adapters with the real clients to the test Hub, and loading them from there with PEFT."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file

from datasetkit.core.errors import HubError, ModelError
from datasetkit.export.publish.hub.adapter import Adapter
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.results import Plan, Pushed
from tests.export.publish.hub.adapters import BASE, CARD, MODEL, NAMES, base_model, held, logits, write_adapter
from tests.export.publish.pushing import HASTY, sent_objects
from tests.hub.faults import Fault
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow

WEIGHTS, CONFIG, FACTS = "adapter_model.safetensors", "adapter_config.json", "adapter.json"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter; read-only."""
    folder = tmp_path_factory.mktemp("tuned") / "adapter"
    write_adapter(folder)
    return folder


@pytest.fixture
def own(tuned: Path, tmp_path: Path) -> Path:
    """Copy that a test may damage."""
    return shutil.copytree(tuned, tmp_path / "own")


def push_to(hub: HubServer, folder: Path, **options: object) -> Pushed:
    values = {"endpoint": hub.endpoint, "token": hub.token, "patience": HASTY, "read": Adapter.read, **options}
    return push(folder, MODEL, **values)  # type: ignore[return-value, arg-type]


def plan_for(hub: HubServer, folder: Path, **options: object) -> Plan:
    return push_to(hub, folder, dry_run=True, **options)  # type: ignore[return-value]


def test_what_is_pushed_is_loaded_by_peft(hub: HubServer, tmp_path: Path) -> None:
    model = write_adapter(tmp_path / "first")
    push_to(hub, tmp_path / "first", tag="v1")
    other = write_adapter(tmp_path / "second", seed=1)
    push_to(hub, tmp_path / "second")
    config = peft.PeftConfig.from_pretrained(MODEL)
    assert (config.peft_type, config.base_model_name_or_path, config.r) == ("LORA", BASE, 16)
    for wanted, revision in ((model, "v1"), (other, "main")):
        loaded = peft.PeftModel.from_pretrained(base_model(), MODEL, revision=revision).eval()
        assert torch.equal(logits(loaded), logits(wanted))
        assert not torch.allclose(logits(loaded), logits(base_model()))
    assert not torch.allclose(logits(model), logits(other))


def test_one_commit_carries_the_adapter_and_nothing_beside_it(hub: HubServer, tuned: Path) -> None:
    pushed = push_to(hub, tuned)
    files = held(hub)
    assert files.keys() == NAMES
    for name in (WEIGHTS, CONFIG, FACTS):
        assert files[name] == (tuned / name).read_bytes()
    first, *before = hub.repository(MODEL, "model").history()
    assert (first.oid, len(before)) == (pushed.commit, 1)
    assert first.title.startswith("Push an adapter with datasetkit ")
    assert pushed.url == f"{hub.endpoint}/{MODEL}"
    assert (pushed.sent_files, pushed.sent_bytes) == (4, sum(map(len, files.values())))


def test_a_dry_run_tells_all_and_sends_nothing(hub: HubServer, tuned: Path) -> None:
    planned = plan_for(hub, tuned, tag="v1")
    assert (planned.creates_repository, planned.commits, planned.deletions) == (True, 1, ())
    assert {request.method for request in hub.traffic.requests} == {"GET"}
    push_to(hub, tuned)
    assert dict(planned.sent) == {name: len(data) for name, data in held(hub).items()}
    assert plan_for(hub, tuned).commits == 0


def test_a_second_push_of_the_same_folder_sends_nothing(hub: HubServer, tuned: Path) -> None:
    once = push_to(hub, tuned, tag="v1")
    hub.traffic.clear()
    again = push_to(hub, tuned, tag="v1")
    assert (again.commit, again.sent_files, again.skipped_files, again.had_tag) == (once.commit, 0, 4, True)
    assert {request.method for request in hub.traffic.requests} == {"GET"}


def test_progress_counts_what_is_published_alone(hub: HubServer, tuned: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {"checking": [], "sending": []}
    push_to(hub, tuned, on_progress=lambda stage, done, total: seen[stage].append((done, total)))
    size = sum((tuned / name).stat().st_size for name in NAMES)
    assert seen["checking"][-1] == (size, size)
    size = sum(map(len, held(hub).values()))
    assert seen["sending"][-1] == (size, size)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("^lfs-part ", "drop", after_bytes=1000),
        Fault("^lfs-batch ", "status", status=503),
        Fault("^(create|info|refs|tree|tag) ", "drop", times=2),
        Fault("^commit ", "no answer"),
        Fault("^resolve ", "truncate", after_bytes=5),
    ],
    ids=lambda fault: f"{fault.kind} {fault.match}",
)
def test_what_passes_is_tried_again(hub: HubServer, tuned: Path, fault: Fault) -> None:
    hub.faults.add(fault)
    push_to(hub, tuned, tag="v1")
    assert hub.faults.met(fault) == fault.times
    assert held(hub, "v1")[WEIGHTS] == (tuned / WEIGHTS).read_bytes()
    assert len(hub.repository(MODEL, "model").history()) == 2
    assert set(hub.traffic.completed.values()) == {1}


def test_a_wait_that_the_hub_asks_for_is_kept(hub: HubServer, tuned: Path) -> None:
    hub.faults.add(Fault("^commit ", "status", status=429, retry_after=1))
    start = time.monotonic()
    push_to(hub, tuned)
    assert time.monotonic() - start > 1, "the patience of the test alone would wait for some hundredths of a second"


def test_what_was_sent_before_a_push_broke_off_is_not_sent_again(hub: HubServer, tuned: Path) -> None:
    hub.faults.add(Fault("^commit ", "status", status=503, times=99))
    with pytest.raises(HubError, match="run the same command again"):
        push_to(hub, tuned)
    hub.faults.clear()
    push_to(hub, tuned)
    assert sent_objects(hub) == 1
    assert held(hub).keys() == NAMES


@pytest.mark.parametrize("private", [True, False])
def test_who_may_see_it(hub: HubServer, tuned: Path, private: bool) -> None:
    push_to(hub, tuned, private=private)
    assert hub.repository(MODEL, "model").private is private
    with pytest.raises(HubError, match=r"make it .* in its settings"):
        push_to(hub, tuned, private=not private)


def test_a_branch_is_made_and_main_stays(hub: HubServer, tuned: Path) -> None:
    hub.create(MODEL, repo_type="model").write({"README.md": b"---\nlicense: mit\n---\n"})
    pushed = push_to(hub, tuned, revision="next")
    assert pushed.url == f"{hub.endpoint}/{MODEL}/tree/next"
    assert held(hub).keys() == {"README.md"}
    assert held(hub, "next").keys() == NAMES


def test_a_dataset_of_the_same_name_is_another_repository(hub: HubServer, tuned: Path) -> None:
    dataset = hub.create(MODEL)
    dataset.write({"README.md": b"---\nlicense: mit\n---\n", "adapter.json": b"{}"})
    head = dataset.head
    push_to(hub, tuned)
    assert dataset.head == head
    assert "license" not in held(hub)["README.md"].decode()


def test_files_of_others_stay(hub: HubServer, tuned: Path, tmp_path: Path) -> None:
    push_to(hub, tuned)
    theirs = {"notes.md": b"mine", "training_args.bin": b"\0", "manifest.json": b"{}", "other/adapter.json": b"{}"}
    hub.repository(MODEL, "model").write(theirs)
    write_adapter(tmp_path / "other", seed=1)
    pushed = push_to(hub, tmp_path / "other")
    assert (pushed.sent_files, pushed.deleted_files) == (2, 0), "the weights, and the card, which has their hash"
    files = held(hub)
    assert files.keys() == NAMES | theirs.keys()
    assert {path: files[path] for path in theirs} == theirs
    assert files[WEIGHTS] == (tmp_path / "other" / WEIGHTS).read_bytes()


def test_text_of_users_in_the_card_stays_and_facts_are_updated(hub: HubServer, own: Path) -> None:
    push_to(hub, own)
    card = held(hub)["README.md"].decode()
    theirs = card.replace("library_name:", "license: mit\nlibrary_name:", 1) + "\n## Thanks\n\nTo my cat.\n"
    hub.repository(MODEL, "model").write({"README.md": theirs.replace("- lora", "- lora\n- mine").encode()})
    (own / "README.md").write_text(CARD.replace("FACTS", "40 steps.").replace("user/scenes", "user/more"))
    pushed = push_to(hub, own)
    assert (pushed.card.is_merged, pushed.card.kept) == (True, ())
    card = held(hub)["README.md"].decode()
    for text in ("license: mit", "- mine", "To my cat.", "40 steps.", "- user/more", "# A tuned adapter"):
        assert card.count(text) == 1
    assert "20 steps." not in card
    assert "user/scenes" not in card
    commits = len(hub.repository(MODEL, "model").history())
    push_to(hub, own)
    assert len(hub.repository(MODEL, "model").history()) == commits


def test_a_key_changed_on_both_sides_stays_and_is_reported(hub: HubServer, own: Path) -> None:
    push_to(hub, own)
    card = held(hub)["README.md"].decode()
    hub.repository(MODEL, "model").write({"README.md": card.replace(BASE, "them/model").encode()})
    (own / "README.md").write_text(CARD.replace(BASE, "us/model"))
    assert push_to(hub, own).card.kept == ("base_model",)
    assert "base_model: them/model" in held(hub)["README.md"].decode()


def test_an_existing_readme_keeps_its_text_and_license(hub: HubServer, tuned: Path) -> None:
    hub.create(MODEL, repo_type="model").write({"README.md": b"---\nlicense: mit\n---\n# Theirs\n\nMine.\n"})
    push_to(hub, tuned)
    card = held(hub)["README.md"].decode()
    assert "license: mit" in card
    assert f"base_model: {BASE}" in card
    assert card.index("# Theirs") < card.index("Mine.") < card.index("20 steps.")
    assert "# A tuned adapter" not in card


def test_a_card_with_marks_of_its_own_is_taken_as_it_is(hub: HubServer, own: Path) -> None:
    section = "<!-- datasetkit:begin tuning -->\nFACTS\n<!-- datasetkit:end tuning -->"
    card = CARD.replace("FACTS", f"{section}\n\n<!-- datasetkit:sections tuning -->")
    (own / "README.md").write_text(card)
    push_to(hub, own)
    assert held(hub)["README.md"].decode().startswith(card.rstrip())


@pytest.mark.parametrize("base", [None, "toyworld:vlm", "gpt2", "user/model"])
def test_public_names_of_base_models(hub: HubServer, own: Path, base: str | None) -> None:
    edit(CONFIG, base_model_name_or_path=base)(own)
    push_to(hub, own)
    assert json.loads(held(hub)[CONFIG])["base_model_name_or_path"] == base


def edit(name: str, **values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def write(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)  # type: ignore[return-value]


def remove(*names: str) -> Callable[[Path], None]:
    def delete(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return delete


def truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def pickle(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / WEIGHTS)


def named(old: str, new: str) -> Callable[[Path], None]:
    return write("README.md", CARD.replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove(CONFIG), "has no adapter_config.json; give the folder of a tuned adapter"),
        (remove(WEIGHTS, FACTS), "has no adapter_model.safetensors and no adapter.json; give"),
        (remove("README.md"), "has no README.md; give"),
        (write(CONFIG, "{"), "adapter_config.json is not JSON"),
        (write(CONFIG, "{}"), "adapter_config.json is not a PEFT configuration"),
        (write(FACTS, "[1]"), "adapter.json must contain a JSON object, not list"),
        (write(FACTS, "[" * 100_000), "adapter.json is not JSON"),
        (write(FACTS, b"\xff"), "adapter.json is not JSON"),
        *(
            (edit(CONFIG, base_model_name_or_path=path), "adapter_config.json names its base model")
            for path in (
                "/home/me/model",
                "./model",
                "../a/b",
                "~/model",
                "a/b/c",
                r"C:\model",
                "toyworld:other",
                ["a"],
            )
        ),
        (named(BASE, "/home/me/model"), "README.md names '/home/me/model' in base_model"),
        (named(BASE, "toyworld:vlm"), "README.md names 'toyworld:vlm' in base_model"),
        (named(BASE, "[a/b, /c]"), "README.md names '/c' in base_model"),
        (named("user/scenes", "../scenes"), "README.md names '../scenes' in datasets"),
        (named("- lora", "- base_model:adapter:/home/me/model"), "README.md names '/home/me/model' in tags"),
        (write("README.md", "# T\n"), "README.md cannot be published"),
        (write("README.md", "---\na: [\n---\n# T\n"), "README.md cannot be published"),
        (write("README.md", b"\xff"), "README.md cannot be published"),
        (write(WEIGHTS, b""), "adapter_model.safetensors cannot be read as safetensors"),
        (pickle, "adapter_model.safetensors cannot be read as safetensors"),
        (truncate, "adapter_model.safetensors cannot be read as safetensors"),
        (lambda folder: save_file({}, folder / WEIGHTS), "adapter_model.safetensors contains no weights"),
    ],
)
def test_a_folder_that_holds_no_sound_adapter_is_not_pushed(
    hub: HubServer, own: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(own)
    for what in (plan_for, push_to):
        with pytest.raises(ModelError) as caught:
            what(hub, own)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not hub.traffic.requests
