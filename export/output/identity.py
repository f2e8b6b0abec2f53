"""Identity of a build. Owns the comparison that decides whether a build may resume in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from datasetkit.core.detections import ModelIdentity
from datasetkit.core.label_map import LabelMap
from datasetkit.core.ledger import PassedOver, Tally
from datasetkit.export.dataset.manifest import Manifest, Part, read_models, read_plugins
from datasetkit.options import Recipe
from datasetkit.runtime.registry import Origin


@dataclass(frozen=True, slots=True)
class BuildIdentity:
    """What makes two builds the same: equal identities give equal bytes. The fields are those of :class:`Manifest`."""

    recipe: Mapping[str, Any]
    source_fingerprint: str
    schema_version: str
    code_version: str
    models: tuple[ModelIdentity, ...] = ()
    plugins: tuple[Origin, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> BuildIdentity:
        """Return the identity of a published build."""
        return cls(
            manifest.recipe,
            manifest.source_fingerprint,
            manifest.schema_version,
            manifest.code_version,
            manifest.models,
            manifest.plugins,
        )

    def manifest(
        self, parts: tuple[Part, ...], stray: Tally, passed_over: tuple[PassedOver, ...], label_map: LabelMap
    ) -> Manifest:
        """Return the manifest of this build, from its results."""
        return Manifest(
            self.schema_version,
            self.code_version,
            self.source_fingerprint,
            self.recipe,
            parts,
            stray,
            self.models,
            plugins=self.plugins,
            passed_over=passed_over,
            label_map=label_map,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildIdentity:
        """Read what :meth:`to_json` returned.

        Raises:
            KeyError, TypeError: the value is not of that form.

        """
        if not isinstance(value["recipe"], Mapping):
            raise TypeError("the recipe must be a mapping of options")
        plugins = read_plugins(value.get("plugins", []))
        return cls(**{**value, "models": read_models(value["models"]), "plugins": plugins})

    def to_json(self) -> dict[str, Any]:
        """Return the identity as plain JSON."""
        return asdict(self)

    def is_same(self, other: BuildIdentity) -> bool:
        """Whether another build has the same bytes; the order of options counts, as it assigns images to splits.

        Options that one of them lacks, because they were added later, count as the behaviour before that.
        """
        return json.dumps(self._completed.to_json()) == json.dumps(other._completed.to_json())

    def is_same_but_source(self, other: BuildIdentity) -> bool:
        """Whether another build is the same, or would be if the source's files had not changed."""
        return self.is_same(replace(other, source_fingerprint=self.source_fingerprint))

    def difference(self, other: BuildIdentity) -> str:
        """Describe the first difference of another build in a few words."""
        found = _first_difference("", self._completed.recipe, other._completed.recipe)
        if found is not None:
            return found
        if self.source_fingerprint != other.source_fingerprint:
            return "the source has changed since then"
        for role in dict.fromkeys(model.role for model in (*self.models, *other.models)):
            there, here = ([model for model in one.models if model.role == role] for one in (self, other))
            if there != here:
                return f"the {role} has other weights"
        for plugin in self.plugins:
            if plugin not in other.plugins:
                return f"only one of them uses {plugin}"
        if self.schema_version != other.schema_version:
            return f"rows of schema {self.schema_version} there, {other.schema_version} here"
        return f"datasetkit {self.code_version} there, {other.code_version} here"

    @property
    def _completed(self) -> BuildIdentity:
        return replace(self, recipe=Recipe.completed(self.recipe))


def _first_difference(path: str, there: Any, here: Any) -> str | None:
    """Describe the first option in which two recipes differ, down to a single value."""
    if json.dumps(there) == json.dumps(here):
        return None
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in sorted({*there, *here}, key=lambda name: (name != "name", name)):
            found = _first_difference(f"{path}.{name}".lstrip("."), there.get(name), here.get(name))
            if found is not None:
                return found
        return f"{path}: another order of {', '.join(there)}"
    name = path.removeprefix("source.") + " of the source" if path.startswith("source.") else path
    return f"{name}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    """Return the value of an option in readable form."""
    if value is None or value == []:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return "options" if isinstance(value, Mapping) else str(value)
