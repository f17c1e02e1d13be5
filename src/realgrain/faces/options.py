"""What all commands share: options, exit codes, and how results and messages come out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

DONE, SOME_FAILED, WRONG_USAGE, REFUSED = 0, 1, 2, 3

Runtime = Literal["onnxruntime", "openvino", "openvino-int8", "openvino-int8-dynamic", "torch"]
Bundle = Annotated[Path | None, Parameter(help="A detector's folder; without it, the one that realgrain ships.")]
Offline = Annotated[bool, Parameter(negative="", help="Never touch the network.")]
Threads = Annotated[int | None, Parameter(help="Processors to use; without it, all.", validator=Number(gte=1))]
Resamples = Annotated[int, Parameter(help="Of the bootstrap behind each interval.", validator=Number(gte=0))]
Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")]


def publish(found: BaseModel, tables: RenderableType, output: Path | None, inputs: list[Path], json: bool = False) -> None:
    """Print a result as tables or as JSON; write it, with the run that made it, where a file is named."""
    from realgrain.faces import show
    from realgrain.measuring.ledger import write_result

    if output:
        write_result(output, found, inputs)
    if json:
        print(found.model_dump_json(indent=2))
    else:
        show.console().print(tables)


def spare(inputs: Sequence[Path], *outputs: Path | None) -> None:
    """See to it, before long work, that nothing is written over what it is made from, nor over another output.

    Raises:
        ValueError: an output is one of the inputs, or another output, under this name or another.
    """
    named = [output for output in outputs if output is not None]
    for output in named:
        if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
            raise ValueError(f"{output}: is what this is made from; name another file")
    if len({output.resolve() for output in named}) < len(named):
        raise ValueError(f"{named[-1]}: is named for two outputs; name another file")


def check_drawing(file: Path, what: str) -> None:
    """See to it, before long work, that a drawing is a PNG file, and that what draws it is installed.

    Raises:
        ValueError: it is another kind of file.
        ModuleNotFoundError: matplotlib is missing.
    """
    if file.suffix.lower() != ".png":
        raise ValueError(f"{file}: {what} is a .png file")
    import matplotlib  # noqa: F401


def say(message: str) -> None:
    """A message for people, on stderr."""
    print(f"realgrain: {message}", file=sys.stderr, flush=True)
