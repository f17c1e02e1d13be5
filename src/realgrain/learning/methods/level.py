"""Ours, an alternative to ``realgrain``: a head on a frozen tower that learns at two scales and is used on one levelled view.

It learns from native crops and from resized pictures at once, degraded in many ways, and is used on one view that every picture is brought to,
resized and saved as JPEG 50, whatever it went through before: then a score hardly depends on the delivery, at half the cost. It may not look along
the directions in which real pictures vary most (see ``probe.fit``). On left-out sources it ranks as method ``realgrain`` does and decides a little
worse, so that it is not what is shipped (docs/decisions/0005).
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "views": {"views": [{"kind": "resize", "quality": 50}]},
    "training_views": {"views": [{"kind": "crop"}, {"kind": "resize"}]},
    "penalty": 100,
    "content_directions": 4,
}
