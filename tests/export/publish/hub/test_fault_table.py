"""Every request of a push with faults of Hub, proxy or network: one line, nothing lost."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import _http

from datasetkit.core.errors import HubError
from datasetkit.export.dataset.manifest import Manifest
from tests.export.publish.pushing import HASTY, NAME, build, held, push_to
from tests.hub.faults import Fault
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow

IMPATIENT = replace(HASTY, max_silence_s=0.25)
FOREIGN = {"notes.md": b"mine", "data/extra.csv": b"a,b", "LICENSE": b"theirs", "assets/.env": b"secret"}
FAULTS = {
    "500": Fault("", "status", status=500),
    "403": Fault("", "status", status=403),
    "412": Fault("", "status", status=412),
    "429": Fault("", "status", status=429),
    "dropped": Fault("", "drop"),
    "truncated": Fault("", "truncate", after_bytes=5),
    "page": Fault("", "body", body=b"<html>Sign in to the network</html>"),
    "other JSON": Fault("", "body", body=b'["?"]'),
    "silence": Fault("", "slow", seconds=0.5),
}
ALL = "info refs tree resolve create branch preupload lfs-batch lfs-part lfs-complete lfs-verify commit tag"
KINDS = {
    "500": ALL,
    "403": "info tree resolve create branch preupload lfs-batch lfs-part commit tag",
    "412": "preupload lfs-batch commit",
    "429": "info tree lfs-batch commit",
    "dropped": f"{ALL} validate-yaml",
    "truncated": "info tree resolve commit",
    "page": "info resolve preupload lfs-batch commit",
    "other JSON": "info refs tree resolve create preupload lfs-batch commit",
    "silence": "info tree lfs-part commit",
}
CASES = [(kind, name) for name, kinds in KINDS.items() for kind in kinds.split()]
# What a client of the Hub cannot get over by asking again.
FOR_GOOD = {"403", "412", "other JSON"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shard and no images; read-only."""
    folder = build(tmp_path_factory.mktemp("table") / "scenes", train=(1,), test=0)
    shutil.rmtree(folder / "assets")
    replace(Manifest.read(folder), files=()).write(folder)
    return folder


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the waits of huggingface_hub before it resends a part."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=_http.time.time))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_fault_is_one_line_and_the_same_command_goes_on(hub: HubServer, small: Path, kind: str, name: str) -> None:
    foreign = {} if kind == "create" else FOREIGN
    if foreign:
        hub.create(NAME).write({**foreign, "README.md": b"---\nlicense: mit\n---\n# Theirs\n\nKept.\n"})
    options = {"patience": IMPATIENT, "tag": "v1", "revision": "next" if kind == "branch" else None}
    fault = replace(FAULTS[name], match=f"^{kind} ")
    hub.faults.add(fault)
    try:
        push_to(hub, small, **options)
        message = None
    except HubError as error:
        message = str(error)
        assert "\n" not in message
        assert hub.token not in message
    assert hub.faults.met(fault) == 1
    if name not in FOR_GOOD:
        assert message is None, "a fault that passes is not told"
    branches = hub.repository(NAME).branches if ("dataset", NAME) in hub.state.repositories else {}
    for branch in branches:
        there = held(hub, branch)
        assert {path: there.get(path) for path in foreign} == foreign
        assert not foreign or b"Kept." in there["README.md"]
        assert there.keys() - foreign.keys() in ({"README.md"}, set(), _published(small))
    push_to(hub, small, **options)
    there = held(hub, "v1")
    assert there.keys() == foreign.keys() | _published(small)
    assert {path: there[path] for path in foreign} == foreign
    shard = "data/train-00000-of-00001.parquet"
    assert there[shard] == (small / shard).read_bytes()
    assert len(hub.repository(NAME).history(options["revision"] or "main")) == (3 if foreign else 2)


def _published(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
