"""What the routes take and give in JSON, beside reports, jobs and problems."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from realgrain.picture.errors import MAX_TEXT


class PictureBody(BaseModel):
    """A picture in JSON: its bytes in base64, or an address that the server fetches (only with ``--allow-urls``).

    Attributes:
        image: base64.
        url: http or https.
        name: what reports call it.
    """

    model_config = ConfigDict(extra="forbid")

    image: str | None = Field(default=None, description="Base64 of the file's bytes.")
    url: str | None = Field(default=None, max_length=2048, description="An address of http or https, instead of `image`.")
    name: str | None = Field(default=None, max_length=MAX_TEXT, description="What the report calls it.")


class Model(BaseModel):
    """Which detector answers: its card, bound to its weights by the bundle's hash."""

    bundle: str
    runtime: str
    precision: str
    runtime_version: str
    realgrain: str
    pictures_in_a_run: int
    card: dict[str, Any]


class Health(BaseModel):
    """Whether it works, and which parts do."""

    status: str
    parts: dict[str, bool] = {}
