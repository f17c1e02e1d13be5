"""What OpenAPI shows of bodies that FastAPI does not read itself."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image


def _gradient() -> str:
    """The smallest picture that is judged, as base64."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


_FILE = {"type": "string", "format": "binary"}
_PICTURES = "image/jpeg, image/png, image/webp, image/avif, image/gif, image/tiff, image/bmp, image/heic"
_CLIPS = "video/mp4, video/quicktime, video/webm, video/x-matroska, video/x-msvideo"
DETECT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _FILE}, "required": ["file"]},
                "encoding": {"file": {"contentType": f"{_PICTURES}, {_CLIPS}"}},
            },
            "application/json": {
                "schema": {"$ref": "#/components/schemas/PictureBody"},
                "examples": {
                    "inline": {"summary": "A picture in base64", "value": {"image": _gradient(), "name": "gradient.png"}},
                    "address": {"summary": "An address, with --allow-urls", "value": {"url": "https://example.org/picture.jpg"}},
                },
            },
        },
    }
}
BATCH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"files": {"type": "array", "items": _FILE, "minItems": 1}}, "required": ["files"]},
            },
            "application/zip": {"schema": _FILE},
        },
    }
}
RESULTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One picture a line, or a row.",
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"n": 0, "name": "a.jpg", "report": {}}\n{"n": 1, "name": "b.txt", "problem": {}}\n',
            },
            "application/vnd.apache.parquet": {"schema": _FILE},
        },
    }
}
REPORT: dict[int | str, dict[str, Any]] = {200: {"description": "The report: of a picture as in the example, of a clip with `kind` clip."}}
A_REPORT: dict[str, Any] = json.loads(Path(__file__).with_name("example_report.json").read_bytes())  # of the gradient
