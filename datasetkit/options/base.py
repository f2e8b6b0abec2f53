"""What all options have in common. Owns their base class."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options that cannot be changed, and refuse names that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
