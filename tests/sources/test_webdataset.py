"""The WebDataset source: samples by key, malicious tars, and tars that are truncated anywhere."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from datasetkit.cli import app
from datasetkit.core.errors import SourceError, UnusableError
from datasetkit.core.limits import ImageLimits
from datasetkit.core.protocols import SourceContext
from datasetkit.export.formats.exporting import export_folder
from datasetkit.options import Recipe
from datasetkit.options.build import RunOptions
from datasetkit.options.sources import WebdatasetOptions
from datasetkit.pipeline.build import build
from datasetkit.sources.tar_index import Break, Member, scan_tar
from datasetkit.sources.tar_samples import expanded
from datasetkit.sources.webdataset import WebdatasetSource
from tests.pipeline.builders import built, make_image, reasons
from tests.sources.tables import outcomes, rows_of, scenes

pytestmark = pytest.mark.slow

Members = list[tuple[str | tarfile.TarInfo, bytes]]


def opened(*shards: Path, context: SourceContext = SourceContext(), **options: Any) -> WebdatasetSource:
    return WebdatasetSource(WebdatasetOptions(shards=shards, **options), context)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def write_tar(path: Path, members: Members, tar_format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tar_format) as tar:
        for info, data in members:
            info = info if isinstance(info, tarfile.TarInfo) else tarfile.TarInfo(info)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Make one header block with a valid checksum and any size."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[124:136] = f"{size:011o}\0".encode() if 0 <= size < 8**11 else b"\xff" * 4 + struct.pack(">q", size)
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards of a built folder, and the folder."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "tars").mkdir()
    export_folder(scenes(folder / "scenes"), "webdataset", folder / "tars")
    return folder / "tars"


def recipe(*shards: Path, **options: Any) -> Recipe:
    source = {name: options.pop(name) for name in ("text_column", "require_description") if name in options}
    return Recipe.checked({"source": {"name": "webdataset", "shards": shards, **source}, **options})


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_samples_by_key(tmp_path: Path, tar_format: int) -> None:
    folder = "deep/" * 15 + "folder"
    members: Members = [
        (member("./0", tarfile.DIRTYPE), b""),
        ("./0/000.jpg", make_image(0)),
        ("./0/000.txt", b" a cat \n"),
        ("./0/000.cls", b"7"),
        ("001.ids.png", make_image(9)),
        ("001.PNG", make_image(1)),
        ("001.json", json.dumps({"caption": ["a dog", "a hound"], "license": "mit"}).encode()),
        (f"{folder}/002.webp", make_image(2)),
        (f"{folder}/{'ü' * 60 if tar_format != tarfile.USTAR_FORMAT else 'u'}.png", make_image(3)),
        ("003.txt", b"no image"),
        ("README", b"read me"),
    ]
    write_tar(tmp_path / "train" / "a.tar", members, tar_format)
    source = opened(tmp_path / "train")
    last = f"{folder}/{'ü' * 60 if tar_format != tarfile.USTAR_FORMAT else 'u'}"
    assert outcomes(source) == {
        "a.tar/0/000": "a cat",
        "a.tar/001": "a dog",
        f"a.tar/{folder}/002": None,
        f"a.tar/{last}": None,
        "a.tar/003": "missing",
        "a.tar/README": "missing",
    }
    readings = [source.read(entry) for entry, _ in zip(source.entries(), range(2), strict=False)]
    assert [reading.record.image.data for reading in readings] == [make_image(0), make_image(1)], "bytes untouched"
    assert [reading.record.source.license for reading in readings] == ["unknown", "mit"]
    assert [reading.record.source.uri for reading in readings] == ["a.tar/0/000.jpg", "a.tar/001.PNG"]


def test_text_of_a_named_key(tmp_path: Path) -> None:
    text = json.dumps({"alt": "named", "text": "not this"}).encode()
    write_tar(tmp_path / "a.tar", [("0.png", make_image()), ("0.json", text), ("0.txt", b"nor this")])
    assert outcomes(opened(tmp_path, text_column="alt")) == {"a.tar/0": "named"}
    assert outcomes(opened(tmp_path, text_column="none")) == {"a.tar/0": None}


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"{", "bad_row"), (b"[1]", "bad_row"), (b"\xff", "bad_row"), (b"[" * 10**5, "bad_row"), (b"{}", None)],
)
def test_json_of_every_kind(tmp_path: Path, text: bytes, reason: str | None) -> None:
    write_tar(tmp_path / "a.tar", [("0.png", make_image()), ("0.json", text)])
    assert outcomes(opened(tmp_path)) == {"a.tar/0": reason}


def test_malicious_tar(tmp_path: Path) -> None:
    """Nothing is extracted; a member that is not a file of the tar is not an image, and costs only its sample."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(make_image(7))
    members: Members = [
        ("../up.png", make_image(1)),
        ("a/../../up.png", make_image(1)),
        (str(tmp_path / "abs.png"), make_image(2)),
        ("C:\\win.png", make_image(2)),
        (member("link.png", tarfile.SYMTYPE, str(secret)), b""),
        (member("hard.png", tarfile.LNKTYPE, "../secret.png"), b""),
        (member("device.png", tarfile.CHRTYPE), b""),
        (member("pipe.png", tarfile.FIFOTYPE), b""),
        ("large.png", bytes(9000)),
        ("good.png", make_image(3)),
        ("good.txt", b"a good cat"),
        ("noise.jpg", b"no image"),
        ("good.png", make_image(4)),
        ("twice.png", make_image(5)),
        ("twice.png", make_image(6)),
        ("empty.png", b""),
    ]
    write_tar(tmp_path / "in" / "a.tar", members)
    before = sorted(tmp_path.rglob("*"))
    value = {"source": {"name": "webdataset", "shards": [tmp_path / "in"]}, "limits": {"max_bytes": 8000}}
    _, found = built(Recipe.checked(value), tmp_path / "in" / "out")
    assert {name: record.description for name, record in found.items()} == {
        "a.tar/good": "a good cat",
        "a.tar/twice": None,
    }
    assert found["a.tar/twice"].image.data == make_image(5)
    assert reasons(tmp_path / "in" / "out") == {
        "a.tar/../up": "path_escapes",
        "a.tar/a/../../up": "path_escapes",
        f"a.tar/{tmp_path / 'abs'}": "path_escapes",
        "a.tar/C:\\win": "path_escapes",
        "a.tar/link": "unreadable",
        "a.tar/hard": "unreadable",
        "a.tar/device": "unreadable",
        "a.tar/pipe": "unreadable",
        "a.tar/large": "too_many_bytes",
        "a.tar/noise": "not_an_image",
        "a.tar/good": "duplicate_id",
        "a.tar/twice": "duplicate_id",
        "a.tar/empty": "empty",
    }
    ours = {"out", ".out.inputs.jsonl", ".out.build.json"}
    assert sorted(path for path in tmp_path.rglob("*") if not ours.intersection(path.parts)) == before


@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g", b"S", b"Z"])
@pytest.mark.parametrize("size", [-512, -1, 2**20 + 1, 8**11 - 1, 2**62])
def test_false_sizes_cost_nothing(tmp_path: Path, kind: bytes, size: int) -> None:
    good = header("good.png", len(make_image())) + make_image().ljust(-(-len(make_image()) // 512) * 512, b"\0")
    (tmp_path / "a.tar").write_bytes(good + header("lie.png", size, kind) + good)
    found = list(scan_tar(tmp_path / "a.tar"))
    assert isinstance(found[0], Member)
    assert isinstance(found[-1], Break)
    assert outcomes(opened(tmp_path))["a.tar/good"] is None


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_too_long_extended_header_is_refused(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(header("long", 2**21, kind) + b"a" * 2**21 + header("x.png", 0) + bytes(1024))
    assert [type(item) for item in scan_tar(tmp_path / "a.tar")] == [Break]


def test_headers_after_a_name_do_not_shift_the_rest(tmp_path: Path) -> None:
    def block(data: bytes) -> bytes:
        return data.ljust(-(-len(data) // 512) * 512, b"\0")

    data, target = make_image(), b"x" * 120 + b"\0"
    sized = b"%d size=%d\n" % (len(f"12 size={len(data)}\n"), len(data))
    tar = header("target", len(target), b"K") + block(target) + header("link.png", 700, b"2")
    tar += header("sized", len(sized), b"x") + block(sized) + header("good.png", 0) + block(data) + bytes(1024)
    (tmp_path / "a.tar").write_bytes(tar)
    found = [(item.name, item.size, bool(item.fault)) for item in scan_tar(tmp_path / "a.tar")]  # type: ignore[union-attr]
    assert found == [("link.png", 700, True), ("good.png", len(data), False)]
    assert outcomes(opened(tmp_path))["a.tar/good"] is None


def test_long_name_that_leaves_the_shard(tmp_path: Path) -> None:
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        write_tar(tmp_path / "a.tar", [("../" * 60 + "x.png", make_image()), ("y.png", make_image())], tar_format)
        assert list(outcomes(opened(tmp_path)).values()) == ["path_escapes", None]


def test_truncated_tar_yields_members_before_the_cut(tmp_path: Path) -> None:
    members: Members = [(f"{n}.png", make_image(n)) for n in range(3)]
    whole = write_tar(tmp_path / "whole.tar", members, tarfile.USTAR_FORMAT).read_bytes()
    places = [item for item in scan_tar(tmp_path / "whole.tar") if isinstance(item, Member)]
    assert not any(isinstance(item, Break) for item in scan_tar(tmp_path / "whole.tar"))
    path = tmp_path / "cut" / "cut.tar"
    path.parent.mkdir()
    for length in range(places[0].offset + places[0].size, places[-1].offset + places[-1].size + 700, 97):
        path.write_bytes(whole[:length])
        found = outcomes(opened(path))
        complete = [f"cut.tar/{n}" for n, place in enumerate(places) if place.offset + place.size <= length]
        assert [name for name, outcome in found.items() if outcome is None] == complete
        is_cut = length < -(-(places[-1].offset + places[-1].size) // 512) * 512 + 512
        assert ("truncated" in found.values()) == is_cut


def test_single_zero_block_is_not_the_end(tmp_path: Path) -> None:
    first, second = header("a.jpg", 0), header("b.jpg", 0)
    (tmp_path / "a.tar").write_bytes(first + bytes(512) + second + bytes(1024))
    found = list(scan_tar(tmp_path / "a.tar"))
    assert [type(item) for item in found] == [Member, Break]
    assert "a single block of zeros" in str(found[-1])
    for end in (512, 1024, 10240):
        (tmp_path / "b.tar").write_bytes(first + bytes(end))
        assert [type(item) for item in scan_tar(tmp_path / "b.tar")] == [Member]


def test_shard_that_is_not_a_tar_costs_only_itself(tmp_path: Path) -> None:
    good = write_tar(tmp_path / "b.tar", [("0.png", make_image())])
    (tmp_path / "a.tar").write_bytes(b"no tar" * 500)
    (tmp_path / "c.tar").write_bytes(gzip.compress(good.read_bytes()))
    (tmp_path / "d.tar").write_bytes(b"")
    out = tmp_path / "out"
    manifest, found = built(recipe(tmp_path), out)
    assert list(found) == ["b.tar/0"]
    assert set(reasons(out).values()) == {"truncated"}
    assert manifest.tally.read["record"] == 4
    for name, message in [("a", "no tar header"), ("c", "compressed; decompress it first"), ("d", "no end mark")]:
        with pytest.raises(SourceError, match=message) as caught:
            opened(tmp_path / f"{name}.tar")
        assert "\n" not in str(caught.value)


def test_names_with_braces(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"train-{number:05d}.tar", [(f"{number}.png", make_image(number))])
    pattern = tmp_path / "train-{00000..00002}.tar"
    assert list(outcomes(opened(pattern))) == [f"train-{n:05d}.tar/{n}" for n in range(3)]
    assert {entry.split for entry in opened(pattern).entries()} == {"train"}
    assert expanded(Path("{a,b}-{8..10}.tar"))[:4] == [Path(f"a-{n}.tar") for n in (8, 9, 10)] + [Path("b-8.tar")]
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        opened(tmp_path / "train-{00000..00003}.tar")
    for bad in ("{5..2}.tar", "{0..999999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(SourceError, match="shards; give folders instead"):
            expanded(Path(bad))


def test_exported_dataset_is_restored(exported: Path, tmp_path: Path) -> None:
    manifest, _ = built(recipe(exported, part_size=3), tmp_path / "again")
    assert rows_of(tmp_path / "again") == rows_of(exported.parent / "scenes")
    assert manifest.tally.read["annotation"] > 8
    plain = opened(exported, text_column="image_id")
    assert not any(entry.annotation_ids for entry in plain.entries())
    refused = CliRunner().invoke(
        app, ["build", "webdataset", str(exported), "--preset", "toyworld", "--out", str(tmp_path / "x")]
    )
    assert (refused.exit_code, "add --relabel" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"width": "wide"},
        {"width": 63},
        {"objects": "[{}]"},
        {"objects": '[{"id": 1e30}]'},
        {"objects": "[null]"},
        {"objects": '[{"area": 1' + "0" * 30 + "}]"},
        {"height": 10**30},
        {"phrases": "]"},
        {"questions": 5},
        {"record_id": None},
        {"sha256": "0"},
        {"license": None},
    ],
)
def test_tampered_exported_record_is_dropped(exported: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    (shard, *_) = sorted(exported.glob("*.tar"))
    with tarfile.open(shard) as tar:
        members: Members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    place = next(place for place, (name, _) in enumerate(members) if str(name).endswith(".json"))
    name, data = members[place]
    members[place] = name, json.dumps(json.loads(data) | change).encode()
    write_tar(tmp_path / "in" / "a.tar", members)
    built(recipe(tmp_path / "in"), tmp_path / "out")
    assert list(reasons(tmp_path / "out").values()) == ["bad_row"]


def test_recipe_rebuilds(tmp_path: Path) -> None:
    write_tar(tmp_path / "in" / "train-000.tar", [("0.png", make_image())])
    write_tar(tmp_path / "in" / "train-001.tar", [("0.png", make_image(1))])
    build(recipe(tmp_path / "in" / "train-{000..001}.tar"), RunOptions(out=tmp_path / "out", workers=1))
    text = (tmp_path / "out" / "recipe.yaml").read_text()
    assert str(tmp_path) not in text
    assert "- train-{000..001}.tar" in text
    command = ["build", "recipe", str(tmp_path / "out" / "recipe.yaml"), "--root", str(tmp_path / "in")]
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "again")]).exit_code == 0
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "out")


def test_fingerprint_covers_names_offsets_and_sizes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", make_image()), ("0.txt", b"a cat")])
    first = opened(path).fingerprint()
    assert opened(tmp_path).fingerprint() == first
    write_tar(path, [("0.png", make_image()), ("1.txt", b"a cat")])
    assert opened(path).fingerprint() != first


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names=st.lists(st.builds("{}{}".format, NAMES, st.sampled_from(["", ".png", ".txt", ".a.png"])), max_size=6))
def test_any_names_are_distinguished(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("names") / "a.tar"
    data = make_image()
    write_tar(path, [(name, data) for name in names] + [("last.png", data)])
    source = opened(path)
    entries = list(source.entries())
    assert len(entries) == len(source) <= len(names) + 1
    found = outcomes(source)
    kept = [entry.record_id for entry in entries if entry.handle is not None and found.get(entry.record_id) is None]
    assert len(kept) == len(set(kept))
    assert not any("/../" in name or name.endswith("/..") for name in kept)


@given(st.binary(max_size=3000), st.integers(0, 2))
def test_any_bytes_are_read_to_their_end(tmp_path_factory: pytest.TempPathFactory, junk: bytes, good: int) -> None:
    path = tmp_path_factory.mktemp("junk") / "a.tar"
    sound = header("good.png", 5) + b"12345".ljust(512, b"\0")
    path.write_bytes(sound * good + junk)
    found = list(scan_tar(path))
    assert [item.name for item in found[:good] if isinstance(item, Member)] == ["good.png"] * good
    assert len(found) <= good + len(junk) // 512 + 1


def test_limit_applies_before_an_image_is_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("0.png", make_image()), ("1.png", bytes(2**16))])
    found = outcomes(opened(tmp_path, context=SourceContext(limits=ImageLimits(max_bytes=2**15))))
    assert found == {"a.tar/0": None, "a.tar/1": "too_many_bytes"}
    source = opened(tmp_path, context=SourceContext(limits=ImageLimits(max_bytes=2**15)))
    with pytest.raises(
        UnusableError, match="65,536 bytes; at most 32,768 are allowed"
    ):  # the upper limit of the image loader
        source.read(list(source.entries())[1])
