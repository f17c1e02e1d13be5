"""What OpenAPI shows of bodies that FastAPI does not read itself."""

from __future__ import annotations

from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

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
                    "inline": {"summary": "A picture in base64", "value": {"image": PIXEL, "name": "pixel.png"}},
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
REPORT: dict[str, Any] = {
    "description": "The report: of a picture as in the example, of a clip with `kind` clip.",
    "content": {
        "application/json": {
            "example": {
                "version": 2,
                "picture": {
                    "name": "picture.jpg",
                    "sha256": "…",
                    "bytes": 91234,
                    "format": "JPEG",
                    "width": 1024,
                    "height": 768,
                    "mode": "RGB",
                    "jpeg_quality": 90,
                    "notes": [],
                },
                "logit": 3.1,
                "probability": 0.96,
                "verdict": {"label": "ai", "reasons": [], "threshold": 2.2},
                "sentence": "flagged; at this threshold …",
            }
        }
    },
}
