"""Ours, and what realgrain ships: a head on a frozen tower that may not look at what pictures show.

It learns from each picture twice, natively cropped and resized, from a block before the last, under a penalty so strong that it comes near the
difference of the class means, and without the directions in which real pictures vary most, which are their content (``probe.fit``). All of that was
chosen on left-out training sources, where nothing that tunes the tower ranked as well (docs/decisions/0003 and 0006). Which block depends on the
tower: the recipe says. It also says which views are looked at in use: what ships looks at the resized one alone (docs/decisions/0022).
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "views": {"views": [{"kind": "crop"}, {"kind": "resize"}]},
    "penalty": 100,
    "content_directions": 5,
}
