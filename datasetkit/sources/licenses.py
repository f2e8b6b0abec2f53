"""Licenses as sources spell them. Owns the way from Creative Commons addresses to the Hub's identifiers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN_LICENSE = "unknown"
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")


def license_identifier(license_entry: Mapping[str, Any]) -> str:
    """Give the Hub's identifier of a license ({"name", "url"}), its name where the Hub has none, or "unknown"."""
    match = _CREATIVE_COMMONS.search(str(license_entry.get("url") or ""))
    if match and match[2] == "zero":
        return f"cc0-{match[3]}"
    if match and match[1] == "licenses":
        return f"cc-{match[2]}-{match[3]}"
    return str(license_entry.get("name") or license_entry.get("url") or UNKNOWN_LICENSE)
