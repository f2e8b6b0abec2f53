"""Pushes disturbed by the Hub, the network or another user, and their messages."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # under any name

from datasetkit.core.errors import HubError
from datasetkit.export.publish.files import LocalFile
from datasetkit.export.publish.hub.calls import HubCaller, Patience
from datasetkit.export.publish.hub.push import push
from datasetkit.export.publish.hub.repository import Upload
from tests.export.publish.pushing import HASTY, NAME, expected, held, push_to, sent_objects
from tests.hub.faults import Fault
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow


def refused(hub: HubServer, folder: Path, **options: object) -> str:
    """Push, and return the message of the expected error: one line, without the token."""
    with pytest.raises(HubError) as caught:
        push_to(hub, folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert hub.token not in message
    return message


# test_fault_table has the others.
PASSING = [
    *(Fault("commit", "status", status=status) for status in (502, 503, 504)),
    *(Fault(kind, "no answer") for kind in ("create", "commit", "tag", "info")),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind} {fault.match} {fault.status}")
def test_what_passes_is_tried_again(hub: HubServer, scenes: Path, fault: Fault) -> None:
    # `commit` alone would match other paths of commits, too: kinds stand at the beginning.
    fault = replace(fault, match=f"^{fault.match} ")
    hub.faults.add(fault)
    push_to(hub, scenes, tag="v1")
    assert hub.faults.met(fault) == 1
    assert held(hub, "v1") == expected(hub, scenes)
    assert len(hub.repository(NAME).history()) == 2
    assert set(hub.traffic.completed.values()) == {1}


@pytest.mark.parametrize(
    "fault",
    [Fault("^lfs-part ", "drop", after_bytes=1000), Fault("^lfs-batch ", "status", status=429, retry_after=0)],
    ids=["dropped connection", "too many requests"],
)
def test_an_interrupted_file_is_sent_again(hub: HubServer, scenes: Path, fault: Fault) -> None:
    hub.faults.add(fault)
    push_to(hub, scenes)
    assert hub.faults.met(fault) == 1
    assert held(hub) == expected(hub, scenes)


def test_bytes_that_are_sent_again_count_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    seen: list[int] = []
    upload = Upload(LocalFile("file", path, 10, hashlib.sha256(b"0123456789").hexdigest()), seen.append)
    with upload.as_file() as file:
        for start, length in ((0, 8), (0, 4), (4, 6)):
            file.seek(start)
            file.read(length)
    upload.report_whole()
    assert seen == [8, 2]


def test_an_answer_that_is_no_json_is_asked_for_again() -> None:
    answers = ["<html>", "7"]
    assert HubCaller(NAME, "hf_token", HASTY)("asking", lambda: json.loads(answers.pop(0))) == 7


def test_a_wait_that_the_hub_asks_for_is_kept(hub: HubServer, scenes: Path) -> None:
    hub.faults.add(Fault("^create ", "status", status=429, retry_after=1))
    start = time.monotonic()
    push_to(hub, scenes)
    assert time.monotonic() - start > 1, "the patience of the test alone would wait for some hundredths of a second"


def test_a_wait_that_is_too_long_is_told(hub: HubServer, scenes: Path) -> None:
    hub.faults.add(Fault("^create ", "status", status=429, retry_after=86400, times=9))
    message = refused(hub, scenes)
    assert "answered 429" in message
    assert "requests a wait of 86400 s" in message
    assert hub.traffic.count("create") == 1


def test_a_hub_that_stays_down_is_told_and_what_was_sent_is_kept(hub: HubServer, scenes: Path) -> None:
    hub.faults.add(Fault("^commit ", "status", status=503, times=99))
    message = refused(hub, scenes)
    assert "answered 503" in message
    assert "tried 3 times" in message
    assert "run the same command again" in message
    assert len(hub.repository(NAME).history()) == 1
    hub.faults.clear()
    sent = sent_objects(hub)
    pushed = push_to(hub, scenes)
    assert sent_objects(hub) == sent
    assert held(hub) == expected(hub, scenes)
    assert pushed.skipped_files == sent, "the storage had all large files"


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_what_does_not_pass_is_told_at_once(hub: HubServer, scenes: Path, status: int) -> None:
    hub.faults.add(Fault("^commit ", "status", status=status))
    assert f"committing: the Hub answered {status} (a fault that the test ordered)" in refused(hub, scenes)
    assert hub.traffic.count("commit") == 1


def test_a_moved_head_loses_nothing(hub: HubServer, scenes: Path) -> None:
    hub.faults.add(Fault("^commit ", "stale"))
    message = refused(hub, scenes)
    assert "somebody else committed to user/scenes meanwhile" in message
    assert "run the same command again" in message
    assert list(held(hub)) == ["somebody-else.txt"]
    sent = sent_objects(hub)
    push_to(hub, scenes)
    assert sent_objects(hub) == sent
    assert {path: data for path, data in held(hub).items() if path != "somebody-else.txt"} == expected(hub, scenes)
    assert "somebody-else.txt" in held(hub)


def test_a_tag_of_another_commit_is_told_before_anything_is_sent(
    hub: HubServer, scenes: Path, fewer_scenes: Path
) -> None:
    push_to(hub, scenes, tag="v1")
    hub.traffic.clear()
    assert "already has a tag v1" in refused(hub, fewer_scenes, tag="v1")
    assert {request.method for request in hub.traffic.requests} == {"GET"}
    push_to(hub, fewer_scenes)
    assert "already has a tag v1" in refused(hub, scenes, tag="v1")


def test_a_finished_push_made_again_finds_its_tag_there(hub: HubServer, scenes: Path) -> None:
    once = push_to(hub, scenes, tag="v1")
    again = push_to(hub, scenes, tag="v1")
    assert (once.had_tag, again.had_tag, again.commit) == (False, True, once.commit)


@pytest.mark.parametrize(
    "name", ["bad tag~^", "", "-v", "/v", "v..1", "v.lock", "a//b", "@", "v@{1", "v\n", ".v", "v/"]
)
def test_invalid_git_names_are_refused_before_any_request(hub: HubServer, scenes: Path, name: str) -> None:
    for option in ("tag", "revision"):
        assert f"--{option} {name!r} is not a valid git name" in refused(hub, scenes, **{option: name})
    assert not hub.traffic.requests


def test_the_address_of_a_branch_is_quoted(hub: HubServer, scenes: Path) -> None:
    assert push_to(hub, scenes, revision="a/b#1%").url == f"{hub.endpoint}/datasets/{NAME}/tree/a%2Fb%231%25"


def test_a_tag_that_somebody_makes_meanwhile_stays(hub: HubServer, scenes: Path) -> None:
    def take() -> None:
        repository = hub.repository(NAME)
        repository.tags["v1"] = repository.history()[-1].oid

    hub.faults.add(Fault("^tag ", "call", call=take))
    assert "creating the tag v1: the Hub answered 409" in refused(hub, scenes, tag="v1")
    assert held(hub, "v1") == {}


def test_a_tag_cannot_be_pushed_to(hub: HubServer, scenes: Path) -> None:
    push_to(hub, scenes, tag="v1")
    assert "v1 is a tag of user/scenes" in refused(hub, scenes, revision="v1")


def test_a_wrong_token(hub: HubServer, scenes: Path) -> None:
    message = refused(hub, scenes, token="hf_" + "x" * 34)
    assert "answered 401" in message
    assert "`hf auth login`" in message
    assert "xxx" not in message


@pytest.mark.parametrize("before", range(280, 301, 4))
def test_no_part_of_a_token_is_told_where_a_long_message_is_cut(before: int) -> None:
    token = "hf_" + "s" * 34

    def fail() -> None:
        raise ValueError("x" * before + token)

    with pytest.raises(HubError) as caught:
        HubCaller(NAME, token, HASTY)("asking", fail)
    assert "hf_" not in str(caught.value)


def test_a_token_that_the_hub_repeats_is_not_told(hub: HubServer) -> None:
    def fail() -> None:
        raise ValueError(f"no such token: {hub.token}")

    with pytest.raises(HubError, match="no such token: <token>"):
        HubCaller(NAME, hub.token, HASTY)("asking", fail)


def test_signatures_in_addresses_are_not_told() -> None:
    def fail() -> None:
        raise RuntimeError("error sending request for url (https://cas.example/x?X-Amz-Signature=5ec7e7&b=1): timeout")

    with pytest.raises(HubError, match=r"url \(https://cas\.example/x\): timeout"):
        HubCaller(NAME, None, HASTY)("sending files", fail)


def test_a_full_disk_here_is_not_blamed_on_the_hub() -> None:
    calls = []

    def fill() -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HubError, match="the local file cannot be written: No space left on device") as caught:
        HubCaller(NAME, None, HASTY, writes=False)("reading a shard", fill)
    assert "reached" not in str(caught.value)
    assert len(calls) == 1


def test_a_repository_of_somebody_else(hub: HubServer, scenes: Path) -> None:
    with pytest.raises(HubError, match=r"answered 403 .* needs the right to write to other/scenes"):
        push(scenes, "other/scenes", endpoint=hub.endpoint, token=hub.token, patience=HASTY)


def test_no_token(hub: HubServer, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "run `hf auth login`, set HF_TOKEN, or give --token" in refused(hub, scenes, token=None)
    assert not hub.traffic.requests


def test_no_network(hub: HubServer, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for dry_run in (False, True):
            message = refused(hub, scenes, endpoint=address, dry_run=dry_run)
            assert "the Hub cannot be reached" in message
            assert ("files already sent are kept" in message) is not dry_run
            assert "HF_HUB_DISABLE_XET" not in message


def test_a_name_that_does_not_resolve_is_explained() -> None:
    def fail() -> None:
        try:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    with pytest.raises(HubError, match=r"cannot be reached \(no network, or the name cannot be resolved\)"):
        HubCaller(NAME, None, HASTY)("asking", fail)


def test_offline_mode(hub: HubServer, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert "HF_HUB_OFFLINE is set" in refused(hub, scenes)


def test_what_the_hub_holds_is_compared_with_what_was_sent(hub: HubServer, scenes: Path) -> None:
    def spoil() -> None:
        repository = hub.repository(NAME)
        commit = repository.at()
        files = dict(commit.files)
        name = "data/train-00000-of-00003.parquet"
        files[name] = replace(files[name], sha256="0" * 64)
        del files["recipe.yaml"]
        repository.commits[commit.oid] = replace(commit, files=files)

    hub.faults.add(Fault("^tree ", "call", skip=1, call=spoil))
    message = refused(hub, scenes, tag="v1")
    assert "differs from what was sent: data/train-00000-of-00003.parquet, recipe.yaml (2 in all)" in message
    assert not hub.repository(NAME).tags


@pytest.mark.parametrize("attempt", [1, 2, 3, 9])
def test_waits_grow_to_a_limit(attempt: int) -> None:
    patience = Patience(first_wait_s=1.0, max_wait_s=4.0)
    longest = {1: 1.0, 2: 2.0, 3: 4.0, 9: 4.0}[attempt]
    waits = [patience.wait_s(attempt) for _ in range(100)]
    assert longest / 2 <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (lambda _: "7", 7, 7),
        (lambda now: format_datetime(now + timedelta(seconds=90), usegmt=True), 60, 90),
        (lambda now: format_datetime(now - timedelta(seconds=90), usegmt=True), 0, 0),
        (lambda _: "soon", None, None),
    ],
)
def test_both_forms_of_retry_after(value: Callable[[datetime], str], low: float | None, high: float | None) -> None:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    from datasetkit.export.publish.hub.calls import _asked_wait_s

    request = httpx2.Request("GET", "http://127.0.0.1")
    answer = httpx2.Response(429, headers={"Retry-After": value(datetime.now(UTC))}, request=request)
    found = _asked_wait_s(HfHubHTTPError("too many requests", response=answer))
    assert found is None if low is None or high is None else low <= found <= high
