"""Every limit and choice of a server, in one place, with defaults that are safe to expose."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from realgrain.picture.clip import FRAMES, ClipLimits
from realgrain.picture.image import Limits

MIB = 2**20


class Settings(BaseModel):
    """Settings of a server (all limits are our choices).

    Attributes:
        data: folder for jobs, their uploads, keys and the webhook secret; one server a folder.
        database: SQLAlchemy address of the store; None: SQLite in ``data``.
        auth: whether requests need an API key.
        allow_urls: whether pictures may be named by an address that the server then fetches.
        private_hosts: hosts, as ``name:port``, that fetching and webhooks may reach although their address is private.
        hosts: names under which the server answers, against rebinding of its name; empty: any.
        cors: origins whose pages may call the service; none by default.
        rate: requests of one key, or of one address where there are no keys, in the words of the package limits.
        max_bytes: of one picture.
        max_pixels: of one picture.
        seconds: for decoding one picture and making its views, after which its process is killed.
        clip_bytes: of one clip.
        clip_seconds: that a clip may last.
        clip_frames: of a clip that are looked at; verdicts have error rates for the default only.
        clip_decode_seconds: for decoding one clip and making its views.
        clips: that may be at work or wait; more are refused with 503. At most half of the workers do clips.
        workers: processes that decode; 0: one for each processor that this process may use.
        waiting: pictures that may wait for a decoder or to be judged; more are refused with 503, but for those of jobs.
        memory: bytes for bodies that are being read or judged, all together.
        window: seconds that a request waits for others to share its run.
        most: pictures in one run.
        batch_files: pictures in one batch.
        batch_bytes: of one batch, uploaded and unpacked.
        form_fields: of a form beside its files; they are not used.
        form_field_bytes: of one of them.
        form_headers: of a part of a form.
        form_header_bytes: of one line of these, of which a file's name is most.
        zip_ratio: unpacked bytes for each byte of a zip's entry.
        jobs_waiting: jobs of one key that have not ended.
        uploads_bytes: of all uploads on disk.
        keep_days: that results are kept.
        header_seconds: for a request's headers to arrive.
        body_grace: seconds that a body may take at any rate ...
        body_rate: ... beyond which it must have arrived with so many bytes a second.
        send_seconds: for a client to take in what it is sent.
        header_bytes: of a request's line and headers.
        connections: at a time.
        fetch_seconds: for an address that is to be fetched, redirects included.
        webhook_delays: seconds before each new attempt to deliver a webhook; after the last, it is given up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    database: str | None = None
    auth: bool = True
    allow_urls: bool = False
    private_hosts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    rate: str = "120/minute"
    max_bytes: int = Field(default=32 * MIB, ge=1)
    max_pixels: int = Field(default=64_000_000, ge=1)
    seconds: float = Field(default=20, gt=0)
    clip_bytes: int = Field(default=32 * MIB, ge=1)
    clip_seconds: float = Field(default=60, gt=0)
    clip_frames: int = Field(default=FRAMES, ge=1, le=64)
    clip_decode_seconds: float = Field(default=60, gt=0)
    clips: int = Field(default=8, ge=1)
    workers: int = Field(default=0, ge=0)
    waiting: int = Field(default=64, ge=1)
    memory: int = Field(default=1024 * MIB, ge=1)
    window: float = Field(default=0.004, ge=0)
    most: int = Field(default=4, ge=1)
    batch_files: int = Field(default=500, ge=1)
    batch_bytes: int = Field(default=512 * MIB, ge=1)
    form_fields: int = Field(default=20, ge=0)
    form_field_bytes: int = Field(default=64 * 1024, ge=0)
    form_headers: int = Field(default=8, ge=2)
    form_header_bytes: int = Field(default=4 * 1024, ge=256)
    zip_ratio: float = Field(default=100, ge=1)
    jobs_waiting: int = Field(default=100, ge=1)
    uploads_bytes: int = Field(default=8 * 1024 * MIB, ge=1)
    keep_days: float = Field(default=7, gt=0)
    header_seconds: float = Field(default=10, gt=0)
    body_grace: float = Field(default=10, gt=0)
    body_rate: float = Field(default=16 * 1024, gt=0)
    send_seconds: float = Field(default=60, gt=0)
    header_bytes: int = Field(default=16 * 1024, ge=1024)
    connections: int = Field(default=512, ge=1)
    fetch_seconds: float = Field(default=10, gt=0)
    webhook_delays: tuple[float, ...] = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)

    def form_bytes(self, files: int, content: int) -> int:
        """The most bytes that a form may have whose files, so many at most, hold so much at most."""
        parts = files + self.form_fields
        return content + parts * self.form_headers * self.form_header_bytes + self.form_fields * self.form_field_bytes

    @property
    def limits(self) -> Limits:
        """Of one picture."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    @property
    def clip_limits(self) -> ClipLimits:
        """Of one clip."""
        return ClipLimits(frames=self.clip_frames, max_seconds=self.clip_seconds, max_bytes=self.clip_bytes, decode_seconds=self.clip_decode_seconds)
