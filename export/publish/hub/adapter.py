"""Publishing of a tuned adapter. Owns which of its files are published, and the rule that they contain no local path.

Its card is generated completely, so that on the Hub its text is between the marks of a generated section: the next push
rewrites this section, and keeps what users wrote around it, as in the card of a dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]
from safetensors import SafetensorError, safe_open

from datasetkit import __version__
from datasetkit.core.addresses import RepoType
from datasetkit.core.errors import BuiltFolderError, ModelError
from datasetkit.export.card.front_matter import read_front_matter
from datasetkit.export.card.parts import sections_line, split_card
from datasetkit.export.card.pushed import written_files
from datasetkit.export.card.sections import section_names
from datasetkit.export.dataset.manifest import CARD_NAME
from datasetkit.export.publish.files import LocalFile, local_file, unpublished
from datasetkit.export.publish.hub.contents import Contents
from datasetkit.export.publish.hub.repository import HubRepository, RepositoryState
from datasetkit.runtime.checkpoints import NAMES, PREFIX
from datasetkit.runtime.progress import OnProgress, counter

CONFIG_NAME, WEIGHTS_NAME, FACTS_NAME = "adapter_config.json", "adapter_model.safetensors", "adapter.json"
# All published files; others in the folder, such as the state of the optimizer or logs, are not.
_NAMES = (WEIGHTS_NAME, CONFIG_NAME, FACTS_NAME, CARD_NAME)
_SHIPPED = tuple(PREFIX + name for name in NAMES)
_SECTION = "adapter"


@dataclass(frozen=True, slots=True)
class Adapter(Contents):
    """A folder with a tuned adapter."""

    folder: Path

    repo_type: ClassVar[RepoType] = "model"
    papers: ClassVar[Set[str]] = frozenset({CONFIG_NAME, FACTS_NAME, CARD_NAME})

    @property
    def commit_title(self) -> str:
        """Title of the commit."""
        return f"Push an adapter with datasetkit {__version__}"

    @classmethod
    def read(cls, folder: Path) -> Adapter:
        """Check the configuration, the facts, the card and the header of the weights.

        Raises:
            ModelError: a file is missing or cannot be read, or names a model or dataset by its path.

        """
        missing = [name for name in _NAMES if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"{folder} has no {' and no '.join(missing)}; give the folder of a tuned adapter")
        _check_config(folder / CONFIG_NAME)
        _read_object(folder / FACTS_NAME)
        _check_card(folder / CARD_NAME)
        _check_weights(folder / WEIGHTS_NAME)
        return cls(folder)

    def read_files(self, on_progress: OnProgress | None) -> tuple[LocalFile, ...]:
        """Hash the weights and the files that describe them; the card gets the marks of a generated section."""
        total = sum((self.folder / name).stat().st_size for name in _NAMES)
        count = counter("checking", total, on_progress)
        *files, card = (local_file(self.folder, name, count, is_held=True) for name in _NAMES)
        return (*files, LocalFile.of_bytes(CARD_NAME, _marked(card.read().decode()).encode()))

    def others(self, published: Iterable[str]) -> tuple[str, ...]:
        """Return the other files of the folder."""
        return unpublished(self.folder, published)

    def former_files(
        self,
        repository: HubRepository,  # noqa: ARG002 - that of a dataset reads the manifest there
        state: RepositoryState,  # noqa: ARG002
        card: str | None,
    ) -> dict[str, str | None]:
        """Read the line of the last push in the card; pushes before 0.4 left only a generated section."""
        written = written_files(card or "")
        known = written if written or _SECTION not in section_names(card or "") else dict.fromkeys(_NAMES)
        return {path: digits for path, digits in known.items() if path in _NAMES}


def _check_config(path: Path) -> None:
    config = _read_object(path)
    if not isinstance(config.get("peft_type"), str):
        raise ModelError(f"{path} is not a PEFT configuration: it lacks peft_type; save the adapter again")
    base = config.get("base_model_name_or_path")
    if base and base not in _SHIPPED and not _is_id(base):
        raise ModelError(
            f"{path} names its base model {base!r}, which is not an id on the Hub; local paths must not be "
            "published: write the id of the model instead"
        )


def _check_card(path: Path) -> None:
    try:
        front = read_front_matter(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, BuiltFolderError) as error:
        raise ModelError(f"{path} cannot be published: {error}; fix it, then push again") from error
    for key, name in _names(front):
        if not _is_id(name):
            raise ModelError(
                f"{path} names {name!r} in {key}, where the Hub accepts only ids, and local paths "
                "must not be published: write an id (user/name), or leave it out"
            )


def _names(front: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield each key and model or dataset of a front matter; cards of PEFT also name the model in a tag."""
    for key in ("base_model", "datasets"):
        yield from ((key, item) for item in _items(front.get(key)))
    for tag in map(str, _items(front.get("tags"))):
        if tag.startswith("base_model:"):
            yield "tags", tag.rpartition(":")[2]


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy") as file:
            is_empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors ({error}); save the adapter again") from error
    if is_empty:
        raise ModelError(f"{path} contains no weights; save the adapter again")


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}; save the adapter again") from error
    if not isinstance(value, Mapping):
        raise ModelError(f"{path} must contain a JSON object, not {type(value).__name__}; save the adapter again")
    return value


def _is_id(name: object) -> bool:
    if not isinstance(name, str):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _marked(card: str) -> str:
    """Put the text below the title between the marks of a generated section, unless the card has marks already."""
    if section_names(card):
        return card
    front, body = split_card(card)
    lines = body.strip("\n").split("\n")
    title = lines[:1] if lines[0].startswith("# ") else []
    text = "\n".join(lines[len(title) :]).strip("\n")
    section = f"<!-- datasetkit:begin {_SECTION} -->\n{text}\n<!-- datasetkit:end {_SECTION} -->"
    return "\n".join(["---", f"{front}---", *title, "", section, "", sections_line([_SECTION]), ""])
