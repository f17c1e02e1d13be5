"""Settings of a recipe as flags of the command line: any of them, by its dotted name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def changes(tokens: Sequence[str]) -> dict[str, Any]:
    """Values by dotted name, of ``--tuning.rate 1e-4`` or ``--tuning.rate=1e-4``; they are read as YAML.

    Whether there is such a setting is found when the recipe is read.

    Raises:
        ValueError: something that is no flag, a flag without a value or given twice, or a value that is no YAML.
    """
    import yaml

    found: dict[str, Any] = {}
    for flag, value in _pairs(iter(tokens)):
        name = flag[2:].replace("-", "_")
        if name in found:
            raise ValueError(f"{flag} is given twice")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"{flag} {value}: {error}") from error
    return found


def _pairs(tokens: Iterator[str]) -> Iterator[tuple[str, str]]:
    for token in tokens:
        flag, equals, value = token.partition("=")
        if not flag.startswith("--"):
            raise ValueError(f"{token}: settings are given as --NAME VALUE, after the recipe")
        if not equals:
            value = next(tokens, "--")
            if value.startswith("--"):
                raise ValueError(f"{flag}: no value")
        yield flag, value
