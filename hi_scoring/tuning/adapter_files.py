"""A tuned adapter's folder: peft's two files, the facts of its tuning, and a card. Owns their contents."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from datasetkit.core.errors import BuiltFolderError
from datasetkit.core.files import naming, write_text
from datasetkit.core.templates import template_environment
from datasetkit.core.text import one_line
from datasetkit.hi_scoring.runs.facts import Count, Facts, read_facts
from datasetkit.hi_scoring.runs.files import write_facts
from datasetkit.runtime.checkpoints import PREFIX

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER_NAME, FACTS_NAME, CARD_NAME = "adapter", "adapter.json", "README.md"
_AGAIN = "remove it, and run the same command again"
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+")


class _AdapterFacts(Facts):
    """The description stored with an adapter, as far as it is read again."""

    modules: list[str]
    trainable: Count
    parameters: Count


def save_adapter(adapted: PeftModel, facts: Mapping[str, Any], folder: Path) -> None:
    """Write an adapter to ``folder/adapter``, atomically.

    Facts are plain JSON values, without paths of this machine.
    """
    partial, place = folder / f"{ADAPTER_NAME}.partial", folder / ADAPTER_NAME
    shutil.rmtree(partial, ignore_errors=True)
    config = adapted.peft_config["default"]
    # The path on this machine must not be published.
    config.base_model_name_or_path = facts["model"]["id"]
    config.revision = facts["model"]["revision"]
    with naming(partial):
        try:
            adapted.save_pretrained(str(partial), safe_serialization=True, save_embedding_layers=False)
        except SafetensorError as error:  # raised for a full disk
            raise OSError(errno.EIO, one_line(error)) from error
    write_facts(partial / FACTS_NAME, facts)
    write_text(partial / CARD_NAME, _card(facts))
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)


def has_adapter(folder: Path) -> bool:
    """Whether a cell's adapter was trained and saved."""
    return (folder / ADAPTER_NAME).is_dir()


def load_adapter(model: Any, folder: Path) -> PeftModel:
    """Load a cell's adapter onto an unchanged model, for evaluation.

    Raises:
        BuiltFolderError: its files are damaged, or belong to another model.

    """
    from peft import PeftModel

    place = folder / ADAPTER_NAME
    try:
        return PeftModel.from_pretrained(model, str(place)).eval()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise BuiltFolderError(f"{place} holds no adapter that can be loaded: {one_line(error)}; {_AGAIN}") from error


def read_adapter_facts(folder: Path) -> dict[str, Any]:
    """Read the facts of a cell's adapter.

    Raises:
        BuiltFolderError: they are missing or damaged.

    """
    return read_facts(folder / ADAPTER_NAME / FACTS_NAME, _AdapterFacts, "adapter", _AGAIN)


def _card(facts: Mapping[str, Any]) -> str:
    template = template_environment(html=False).from_string(
        (resources.files("datasetkit.hi_scoring.tuning") / "card.md.j2").read_text("utf-8")
    )
    model, data = facts["model"]["id"], facts["data"]["name"]
    return template.render(
        facts=facts,
        model_on_hub=model if _ON_HUB.fullmatch(model) and not model.startswith(PREFIX) else None,
        data_on_hub=data if facts["data"]["revision"] else None,
    )
