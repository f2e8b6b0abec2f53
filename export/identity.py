"""Which build a folder belongs to. Owns the comparison that decides whether a build may go on there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export.manifest import Manifest


@dataclass(frozen=True, slots=True)
class BuildIdentity:
    """What makes two builds the same: equal identities give equal bytes.

    Args:
        recipe: the published recipe.
        source_fingerprint: hex digest of the source's index.
        schema_version: of the rows.
        code_version: of datasetkit.

    """

    recipe: Mapping[str, Any]
    source_fingerprint: str
    schema_version: str
    code_version: str

    @classmethod
    def of(cls, manifest: Manifest) -> BuildIdentity:
        """Tell the identity of a published build."""
        return cls(manifest.recipe, manifest.source_fingerprint, manifest.schema_version, manifest.code_version)

    def is_same(self, other: BuildIdentity) -> bool:
        """Whether another build gives the same bytes; the order of options counts, as pictures go to splits by it."""
        return json.dumps(asdict(self)) == json.dumps(asdict(other))

    def difference(self, other: BuildIdentity) -> str:
        """Name the first thing in which another build differs, in a few words."""
        for name in sorted({*self.recipe, *other.recipe}):
            if json.dumps(self.recipe.get(name)) != json.dumps(other.recipe.get(name)):
                return f"{name}: {self.recipe.get(name)} there, {other.recipe.get(name)} here"
        if self.source_fingerprint != other.source_fingerprint:
            return "the source has changed since"
        return f"datasetkit {self.code_version} there, {other.code_version} here"
