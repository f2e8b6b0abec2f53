"""URIs as users write them: those of the Hub, those of stores, and errors for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasetkit.core.addresses import SCHEMES, HubAddress, RepoType, hub_address
from datasetkit.core.errors import AddressError
from datasetkit.core.paths import as_place
from datasetkit.core.remote import RemotePath

DATASETS = {
    "user/name": None,
    "user/name@v1": "v1",
    "user/name@a/b": "a/b",
    "datasets/user/name": None,
    "datasets/user/name@v1": "v1",
    "hf://datasets/user/name": None,
    "HF://datasets/user/name/": None,
    "hf://datasets/user/name@v1": "v1",
    "hf://datasets/user/name@refs/pr/1": "refs/pr/1",
    "hf://datasets/user/name@a%2Fb": "a/b",
    "hf:///datasets/user/name": None,
    "https://huggingface.co/datasets/user/name": None,
    "http://huggingface.co/datasets/user/name/": None,
    "HTTPS://www.HuggingFace.co/datasets/user/name": None,
    "https://hf.co/datasets/user/name/tree/main": "main",
    "https://huggingface.co/datasets/user/name/tree/refs%2Fpr%2F1": "refs/pr/1",
    "huggingface.co/datasets/user/name": None,
    "www.huggingface.co/datasets/user/name?row=3": None,
    "https://hub.example:8080/datasets/user/name": None,
    "hub.example:8080/datasets/user/name/tree/v1": "v1",
}


@pytest.fixture(autouse=True)
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set HF_ENDPOINT to another Hub before huggingface_hub is imported, in an empty working directory."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.example:8080")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("value", "revision"), DATASETS.items())
def test_every_spelling_of_a_dataset(value: str, revision: str | None) -> None:
    assert hub_address(value, "dataset") == HubAddress("dataset", "user/name", revision)


@pytest.mark.parametrize(
    "value", ["user/name", "models/user/name", "hf://user/name", "https://huggingface.co/user/name/"]
)
def test_every_spelling_of_a_model(value: str) -> None:
    assert hub_address(value, "model") == HubAddress("model", "user/name")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "scenes",
        "./a/b",
        "../b",
        "/a/b",
        "a/b/c",
        "user/..",
        "C:/x",
        "s3://bucket/x",
        "https://example.com/user/name",
    ],
)
def test_what_is_not_about_the_hub(value: str) -> None:
    assert hub_address(value, "dataset") is None


@pytest.mark.parametrize(
    ("value", "repo_type", "message"),
    [
        (
            "hf://user/name",
            "dataset",
            "is a model, but a dataset is needed: user/name or hf://datasets",
        ),
        ("https://huggingface.co/user/name", "dataset", "is a model"),
        (
            "datasets/user/name",
            "model",
            "is a dataset, but a model is needed: user/name or hf://user",
        ),
        ("hf://spaces/user/name", "dataset", "is a space"),
        ("hf://datasets/user/name/data/x.parquet", "dataset", r"names data/x\.parquet in a repository; .* user/name"),
        ("https://huggingface.co/datasets/user/name/blob/main/x", "dataset", "names x in a repository"),
        ("https://huggingface.co/datasets/user/name/settings?token=hush", "dataset", "unsupported '/settings/' route"),
        ("hf://datasets/name", "dataset", "Repository id must be 'namespace/name'"),
        ("user/name.git", "dataset", "cannot end by '.git'"),
        ("https://user:hush@huggingface.co/datasets/user/name", "dataset", "contains what may be a secret"),
    ],
)
def test_an_address_of_something_else_is_one_line(value: str, repo_type: RepoType, message: str) -> None:
    with pytest.raises(AddressError, match=message) as caught:
        hub_address(value, repo_type)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_two_revisions_contradict_each_other() -> None:
    address = HubAddress("dataset", "user/name", "v1")
    assert (address.at(None), address.at("v1")) == (address, address)
    assert HubAddress("dataset", "user/name").at("v1") == address
    with pytest.raises(AddressError, match="names the revision v1, but an option v2"):
        address.at("v2")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("s3:/bucket", "did you mean s3://bucket"),
        ("s3:bucket", "did you mean s3://bucket"),
        ("s3//bucket", "did you mean s3://bucket"),
        ("S3:/bucket", "did you mean s3://bucket"),
        ("https:/x", "did you mean https://x"),
        ("hf:/datasets/user/name", "did you mean hf://datasets/user/name"),
        ("s3:///bucket", "does not name a single location"),
        ("s3://", "does not name a single location"),
        ("zip::s3://bucket/x", "does not name a single location"),
        ("zip://x::s3://bucket/x", "does not name a single location"),
        ("ftp://host/x", f"ftp:// is not allowed; give a path, or a URI of {', '.join(sorted(SCHEMES))}"),
        ("GitHub://x", "github:// is not allowed"),
    ],
)
def test_a_place_that_is_misspelt_is_one_line(value: str, message: str) -> None:
    with pytest.raises(AddressError, match=message) as caught:
        as_place(value)
    assert "\n" not in str(caught.value)


def test_schemes_in_capitals_are_the_same_place() -> None:
    assert as_place("S3://bucket/x") == RemotePath("s3://bucket/x")
    assert as_place("FILE:///a/b") == Path("/a/b")


def test_paths_that_look_like_addresses_and_are_there_are_paths() -> None:
    Path("local").mkdir()
    Path("s3:x").touch()
    assert as_place("local//data") == Path("local/data")
    assert as_place("s3:x") == Path("s3:x")


@pytest.mark.parametrize("address", ["hf://datasets/user/name/x", "https://example.com/x"])
def test_nothing_writes_to_the_hub_or_to_the_web_as_a_store(address: str, tmp_path: Path) -> None:
    place = RemotePath(address)
    (tmp_path / "file").write_bytes(b"x")
    for write in (
        lambda: place.send(tmp_path / "file", "0" * 64, lambda _: None),
        lambda: place.write_bytes(b"x"),
        place.remove,
    ):
        with pytest.raises(AddressError, match=r"datasetkit push FOLDER user/name|cannot be written to"):
            write()
