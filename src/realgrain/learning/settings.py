"""The settings of a class of settings, by dotted name: which there are, what each means, and what someone may have meant by another name.

It knows pydantic models and dataclasses inside each other, with their docstrings, and no setting in particular.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from textwrap import indent, wrap
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, TypeAdapter

WIDTH = 110  # columns of a comment


def names(kind: type) -> list[str]:
    """Dotted names of all settings: of ``Recipe``, such as ``penalty`` and ``tuning.rate``."""
    return list(_names(kind, ""))


def _names(kind: type, before: str) -> Iterator[str]:
    types = get_type_hints(kind)
    for name in _fields(kind):
        if _has_settings(types[name]):
            yield from _names(types[name], f"{before}{name}.")
        else:
            yield before + name


def _fields(kind: Any) -> list[str]:
    return list(kind.model_fields) if issubclass(kind, BaseModel) else [field.name for field in fields(kind)]


def _has_settings(kind: Any) -> bool:
    return inspect.isclass(kind) and (issubclass(kind, BaseModel) or is_dataclass(kind))


def meant(name: str, kind: type) -> str:
    """The settings that may have been meant by a name that is none, as the end of a sentence; empty where nothing is like it.

    >>> from realgrain.learning.recipe import Recipe
    >>> meant("tuning.rat", Recipe), meant("rank", Recipe)
    ('; did you mean tuning.rate?', '; did you mean adapter.rank?')
    """
    known = names(kind)
    last = name.rpartition(".")[2]
    close = [one for one in known if one.rpartition(".")[2] == last] or get_close_matches(name, known, 1, 0.7)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def as_yaml(settings: Any) -> str:
    """All settings of an object with what they mean, as YAML that it can be made of again."""
    kind = type(settings)
    told, plain = _told(kind), TypeAdapter(kind).dump_python(settings, mode="json")
    parts = []
    for name in _fields(kind):
        value = getattr(settings, name)
        comment = "".join(f"# {line}\n" for line in wrap(told.get(name, ""), WIDTH))
        if _has_settings(type(value)):
            parts.append(f"{comment}{name}:\n{indent(as_yaml(value), '  ')}")
        else:
            line = yaml.safe_dump([plain[name]], default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
            parts.append(f"{comment}{name}: {line.strip()[1:-1]}\n")
    return "".join(parts)


def _told(kind: type) -> dict[str, str]:
    """What a class's docstring says of each setting."""
    _, _, section = re.sub(r"^Args:$", "Attributes:", inspect.getdoc(kind) or "", flags=re.MULTILINE).partition("\nAttributes:\n")
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
