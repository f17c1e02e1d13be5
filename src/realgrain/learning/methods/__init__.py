"""One file a method: its paper, its settings of the three axes (what is hidden, what is perturbed, what moves), and where it deviates."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def names() -> list[str]:
    """Methods that a recipe may name."""
    return sorted(module.name for module in iter_modules(__path__))


def defaults(name: str) -> dict[str, Any]:
    """A method's settings, as a diff from the defaults of ``Recipe``.

    Raises:
        ValueError: no such method.
    """
    if name not in names():
        raise ValueError(f"no method {name!r}; there are {', '.join(names())}")
    return import_module(f"{__name__}.{name}").DEFAULTS
