from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from tests.hub.faults import Fault
from tests.hub.server import HubServer
from tests.hub.store import Repository

PART = 1 << 20
LARGE = os.urandom(2 * PART + 17)
SHA256 = hashlib.sha256(LARGE).hexdigest()


def upload(api: HfApi, **how: Any) -> str:
    operations = [CommitOperationAdd("a.parquet", LARGE)]
    return api.create_commit("user/name", operations, commit_message="Add", repo_type="dataset", **how).oid


def test_too_many_requests(hub: HubServer, api: HfApi, repository: Repository, waits: list[float]) -> None:
    hub.faults.add(Fault("^lfs-batch ", "status", times=2, status=429, retry_after=7))
    upload(api)
    assert waits == [8.0, 8.0]
    assert hub.traffic.count("lfs-batch") == 3
    assert repository.read("a.parquet") == LARGE


@pytest.mark.parametrize("status", [500, 503])
def test_a_part_that_fails_is_sent_again_alone(
    hub: HubServer, api: HfApi, repository: Repository, waits: list[float], status: int
) -> None:
    fault = Fault("^lfs-part .*/part/2$", "status", times=2, status=status)
    hub.faults.add(fault)
    upload(api)
    assert hub.faults.met(fault) == 2
    urls = [request.url[-1] for request in hub.traffic.requests if request.kind == "lfs-part"]
    assert urls == ["1", "2", "2", "2", "3"]
    assert hub.traffic.completed == {SHA256: 1}


def test_a_commit_that_fails_changes_nothing(hub: HubServer, api: HfApi, repository: Repository) -> None:
    before = repository.head
    hub.faults.add(Fault("^commit ", "status", status=503))
    with pytest.raises(HfHubHTTPError, match="503"):
        upload(api)
    assert repository.head == before
    upload(api)
    assert hub.traffic.completed == {SHA256: 1}


def test_a_connection_that_drops_amid_a_part(
    hub: HubServer, api: HfApi, repository: Repository, waits: list[float]
) -> None:
    hub.faults.add(Fault("^lfs-part ", "drop", skip=1, after_bytes=100_000))
    upload(api)
    assert hub.traffic.received[SHA256] == {1: PART, 2: PART + 100_000, 3: 17}
    assert hub.traffic.completed == {SHA256: 1}
    assert len(waits) == 1
    assert repository.read("a.parquet") == LARGE


def test_a_head_that_moves_at_the_last_moment(hub: HubServer, api: HfApi, repository: Repository) -> None:
    hub.faults.add(Fault("^commit ", "stale"))
    with pytest.raises(HfHubHTTPError, match="412"):
        upload(api, parent_commit=repository.head)
    assert set(repository.files()) == {".gitattributes", "somebody-else.txt"}
    upload(api, parent_commit=repository.head)
    assert hub.traffic.completed == {SHA256: 1}


def test_a_commit_whose_answer_is_lost(hub: HubServer, api: HfApi, repository: Repository) -> None:
    hub.faults.add(Fault("^commit ", "no answer"))
    with pytest.raises(httpx2.RemoteProtocolError):
        upload(api)
    assert repository.read("a.parquet") == LARGE


def test_an_upload_whose_answer_is_lost_is_sent_again(
    hub: HubServer, api: HfApi, repository: Repository, waits: list[float]
) -> None:
    small = hashlib.sha256(LARGE[:PART]).hexdigest()
    hub.faults.add(Fault("^lfs-complete ", "no answer"), Fault("^lfs-put ", "no answer"))
    upload(api)
    operations = [CommitOperationAdd("b.parquet", LARGE[:PART])]
    api.create_commit("user/name", operations, commit_message="Add", repo_type="dataset")
    assert (hub.traffic.count("lfs-complete"), hub.traffic.count("lfs-put")) == (2, 2)
    assert hub.traffic.completed == {SHA256: 1, small: 2}
    assert repository.read("b.parquet") == LARGE[:PART]


def test_a_download_that_ends_early_is_taken_up_where_it_ended(
    hub: HubServer, repository: Repository, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is less than a chunk of the client is lost with the connection.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    repository.write({"a.parquet": LARGE})
    hub.faults.add(Fault("^resolve GET ", "truncate", after_bytes=PART))
    path = hf_hub_download(repository.id, "a.parquet", repo_type="dataset")
    assert Path(path).read_bytes() == LARGE
    gets = [(r.status, r.sent) for r in hub.traffic.requests if r.kind == "resolve" and r.method == "GET"]
    assert gets == [(200, PART), (206, PART + 17)]


def test_a_slow_answer_outlasts_a_client_without_patience(hub: HubServer, repository: Repository) -> None:
    hub.faults.add(Fault("^info ", "slow", seconds=0.5))
    url = f"{hub.endpoint}/api/datasets/{repository.id}"
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, timeout=0.1)
    assert httpx2.get(url, timeout=10).status_code == 200


def test_a_call_comes_amid_the_body(hub: HubServer, api: HfApi, repository: Repository) -> None:
    seen: list[int] = []
    hub.faults.add(
        Fault("^lfs-part ", "call", after_bytes=1000, call=lambda: seen.append(hub.traffic.bytes_received()))
    )
    upload(api)
    assert seen == [1000]
    assert repository.read("a.parquet") == LARGE


def test_a_fault_skips_and_ends(hub: HubServer, repository: Repository) -> None:
    fault = Fault("^info GET /api/datasets/user/name$", "status", skip=1, times=2, status=503)
    hub.faults.add(fault)
    url = f"{hub.endpoint}/api/datasets/{repository.id}"
    assert [httpx2.get(url).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert hub.faults.met(fault) == 2
    hub.faults.clear()
    assert hub.faults.met(fault) == 0


def test_a_process_killed_amid_a_part_leaves_no_object(
    hub: HubServer, api: HfApi, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "a.parquet").write_bytes(LARGE)
    code = (
        "import huggingface_hub as hub; hub.upload_file(path_or_fileobj='a.parquet', path_in_repo='a.parquet',"
        " repo_id='user/name', repo_type='dataset')"
    )
    started: list[subprocess.Popen[bytes]] = []
    hub.faults.add(Fault("^lfs-part ", "call", skip=1, after_bytes=1000, call=lambda: started[0].kill()))
    command = [sys.executable, "-c", code]
    started.append(subprocess.Popen(command, cwd=tmp_path, env=hub.environment(tmp_path / "home"), stderr=-3))
    assert started[0].wait() == -signal.SIGKILL
    assert hub.traffic.completed == {}
    assert set(repository.files()) == {".gitattributes"}
    upload(api)
    assert hub.traffic.completed == {SHA256: 1}


def test_an_error_in_the_server_itself_is_raised_at_its_end() -> None:
    server = HubServer()
    server.faults.add(Fault("^whoami ", "call", call=lambda: 1 // 0))
    with pytest.raises(ZeroDivisionError), server, pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{server.endpoint}/api/whoami-v2")


def test_a_test_can_wait_for_a_request(hub: HubServer, repository: Repository) -> None:
    assert not hub.traffic.wait_for("info", timeout_s=0.01)
    httpx2.get(f"{hub.endpoint}/api/datasets/{repository.id}")
    assert hub.traffic.wait_for("info")
