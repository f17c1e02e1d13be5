"""Nested settings on one level, so that two of them can be compared key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dotted(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted key, in order, however they were nested; lists are values."""
    found = {}
    for key, value in settings.items():
        found |= dotted(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found
