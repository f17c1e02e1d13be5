"""The command ``regions``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from realgrain.faces.options import DONE, Bundle, Offline, Runtime, Threads, say, spare


def regions(
    picture: Annotated[Path, Parameter(help="One picture.")],
    *,
    output: Annotated[Path | None, Parameter(alias="-o", help="PNG file to draw the map into.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Print the tiles and their logits as JSON.")] = False,
    most: Annotated[int, Parameter(help="Tiles, at most; each is scored twice.")] = 64,
    runtime: Runtime = "onnxruntime",
    bundle: Bundle = None,
    offline: Offline = False,
    threads: Threads = None,
) -> int:
    """Show where in a picture its score comes from: the detector on tiles at native resolution. It never changes the verdict."""
    from realgrain.detector.detect import load
    from realgrain.evidence import region_map
    from realgrain.evidence.regions import regions as look
    from realgrain.measuring.whole import write_whole
    from realgrain.picture.image import open_picture

    if output is None and not json:
        raise ValueError("nothing to write: name a PNG file with -o, or ask for --json")
    if output is not None and output.suffix.lower() != ".png":
        raise ValueError(f"{output}: a map is a .png file")
    spare([picture], output)
    if most < 1:
        raise ValueError(f"--most must be at least 1, got {most}")
    opened = open_picture(picture)
    detector = load(bundle, runtime=runtime, offline=offline, threads=threads)
    found = look(opened.pixels, detector.bundle.card.views, detector.runtime.logits, most=most)
    if output:
        write_whole(output, region_map.draw(opened.pixels, found))
        say(f"{output}: drawn")
    if json:
        print(found.model_dump_json(indent=2))
    say(region_map.words(found))
    return DONE
