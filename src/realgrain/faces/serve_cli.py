"""The commands ``serve`` and ``keys``. The command line loads them when they are asked for."""

from __future__ import annotations

import ipaddress
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Offline, Runtime, Threads, say

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
Data = Annotated[Path | None, Parameter(help="Folder for jobs, uploads and keys; without it, one in the user's own data folder.")]
Database = Annotated[
    str | None, Parameter(help="Address of SQLAlchemy, such as postgresql+psycopg://user@host/name; without it, SQLite in the data folder.")
]


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0: any that is free.")] = 8000,
    data: Data = None,
    database: Database = None,
    auth: Annotated[
        bool | None,
        Parameter(
            negative="--no-auth", help="Ask for API keys. Without either, keys are asked for if there are any; none is needed on this machine only."
        ),
    ] = None,
    allow_urls: Annotated[bool, Parameter(negative="", help="Fetch pictures from addresses in the public internet.")] = False,
    private_host: Annotated[
        tuple[str, ...], Parameter(negative="", help="NAME:PORT that fetching and webhooks may reach though it is not public. May be repeated.")
    ] = (),
    cors: Annotated[tuple[str, ...], Parameter(negative="", help="Origin whose pages may call the service. May be repeated.")] = (),
    allow_host: Annotated[
        tuple[str, ...], Parameter(negative="", help="Name that a server without keys answers under, beside this machine's own. May be repeated.")
    ] = (),
    rate: Annotated[str, Parameter(help="Requests of one key, or of one address without keys.")] = "120/minute",
    max_mib: Annotated[float, Parameter(help="Size of one picture at most, MiB.")] = 32,
    max_megapixels: Annotated[float, Parameter(help="Pixels of one picture at most, millions.")] = 64,
    seconds: Annotated[float, Parameter(help="For decoding one picture.")] = 20,
    max_clip_mib: Annotated[float, Parameter(help="Size of one clip at most, MiB.")] = 32,
    max_clip_seconds: Annotated[float, Parameter(help="Length of one clip at most.")] = 60,
    workers: Annotated[int, Parameter(help="Processes that decode; 0: one for each processor.")] = 0,
    jobs_waiting: Annotated[int, Parameter(help="Jobs of one key that have not ended, at most.")] = 100,
    keep_days: Annotated[float, Parameter(help="That results of jobs are kept.")] = 7,
    runtime: Runtime = "onnxruntime",
    bundle: Bundle = None,
    trust_list: Annotated[Path | None, Parameter(help="Certificates in PEM whose C2PA signatures are trusted; without it, none is.")] = None,
    offline: Offline = False,
    threads: Threads = None,
    access_log: Annotated[bool, Parameter(negative="", help="Log each request's address, path and status.")] = False,
) -> int:
    """Serve a detector over HTTP, with a page at /."""
    from realgrain.detector.detect import load
    from realgrain.evidence.c2pa import read_trust_list
    from realgrain.faces.server.app import create
    from realgrain.faces.server.settings import MIB, Settings

    folder = data or default_folder()
    local = is_local(host)
    settings = Settings(
        data=folder,
        database=database,
        auth=_auth(auth, local, folder, database),
        allow_urls=allow_urls,
        private_hosts=private_host,
        cors=cors,
        rate=rate,
        max_bytes=int(max_mib * MIB),
        max_pixels=int(max_megapixels * 1e6),
        seconds=seconds,
        clip_bytes=int(max_clip_mib * MIB),
        clip_seconds=max_clip_seconds,
        workers=workers,
        jobs_waiting=jobs_waiting,
        keep_days=keep_days,
    )
    if not settings.auth and local:
        settings = settings.model_copy(update={"hosts": (*LOCAL_NAMES, host, *allow_host)})
    if trust_list is not None:
        read_trust_list(trust_list)  # what is wrong with it is said now, and not by a worker
    app = create(settings, load(bundle, runtime=runtime, offline=offline, threads=threads), trust_list)
    say(f"data in {folder}; {'API keys are needed' if settings.auth else 'no API keys are needed'}")
    return _run(app, settings, host, port, access_log)


def _run(app: object, settings: object, host: str, port: int, access_log: bool) -> int:
    import uvicorn

    from realgrain.faces.server.protocol import protocol
    from realgrain.faces.server.settings import Settings

    assert isinstance(settings, Settings)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=host,
        port=port,
        http=protocol(settings.header_seconds),
        ws="none",
        lifespan="on",
        access_log=access_log,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.connections,
        h11_max_incomplete_event_size=settings.header_bytes,
        timeout_graceful_shutdown=15,
        log_level="info",
    )
    server = uvicorn.Server(config)
    server.run()
    return DONE if server.started else SOME_FAILED


def _auth(asked: bool | None, local: bool, folder: Path, database: str | None) -> bool:
    """Whether keys are asked for.

    Raises:
        ValueError: the server would be open to everyone, or closed to everyone, and nobody said that it should be.
    """
    from realgrain.faces.server.service import open_store
    from realgrain.faces.server.settings import Settings

    store = open_store(Settings(data=folder, database=database))
    now = time.time()
    try:
        usable = any(key.revoked is None and (key.ends is None or key.ends > now) for key in store.all_keys())
    finally:
        store.close()
    if asked is None and not local and not usable:
        raise ValueError("others could reach this address, and there are no API keys: make one with `realgrain keys add NAME`, or say --no-auth")
    if asked and not usable:
        raise ValueError("there are no API keys: make one with `realgrain keys add NAME`")
    return usable if asked is None else asked


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def default_folder() -> Path:
    """Where a server's data is kept unless told otherwise."""
    import platformdirs

    return Path(platformdirs.user_data_dir("realgrain", appauthor=False)) / "serve"


keys_app = App(name="keys", help="API keys of the service: make, list, revoke.")
Scope = Literal["detect", "batch", "metrics"]


@keys_app.command
def add(
    name: Annotated[str, Parameter(help="Whose it is.")],
    *,
    scope: Annotated[tuple[Scope, ...], Parameter(negative="", help="What it may do. May be repeated.")] = ("detect", "batch"),
    rate: Annotated[str | None, Parameter(help="Its own limit, such as 600/minute; without it, the server's.")] = None,
    days: Annotated[float | None, Parameter(help="That it works; without it, until it is revoked.")] = None,
    data: Data = None,
    database: Database = None,
) -> int:
    """Make a key. It is shown once, and kept as a hash. To rotate: make a new one, move to it, revoke the old one."""
    from realgrain.faces.server.auth import make_key
    from realgrain.faces.server.ratelimit import parsed
    from realgrain.faces.server.webhooks import secret_of, server_secret

    if rate is not None:
        parsed(rate)
    if not 0 < len(name) <= 200:
        raise ValueError("a key's name has 1 to 200 characters")
    if days is not None and days <= 0:
        raise ValueError(f"--days must be above 0, got {days:g}")
    store, folder = _store(data, database)
    try:
        key = make_key(store, name, tuple(dict.fromkeys(scope)), rate, days)
    finally:
        store.close()
    print(key)
    say(f"the key is shown this once; its webhooks are signed with {secret_of(server_secret(folder / 'webhook.secret'), key.split('_')[1])}")
    return DONE


@keys_app.command(name="list")
def list_(*, data: Data = None, database: Database = None) -> int:
    """List keys, without the keys."""
    from rich.table import Table
    from rich.text import Text

    from realgrain.faces import show

    store, _ = _store(data, database)
    try:
        rows = store.all_keys()
    finally:
        store.close()
    now = time.time()
    table = Table("id", "name", "scopes", "rate", "made", "state")
    for key in rows:
        over = key.ends is not None and key.ends <= now
        state = "revoked" if key.revoked is not None else "ended" if over else "valid" if key.ends is None else f"valid until {_day(key.ends)}"
        table.add_row(key.id, Text(key.name), key.scopes, key.rate or "the server's", _day(key.made), state)
    show.console().print(table)
    return DONE


@keys_app.command
def revoke(key: Annotated[str, Parameter(help="Its id, as `keys list` shows it.")], *, data: Data = None, database: Database = None) -> int:
    """Revoke a key; a running server refuses it within seconds."""
    store, _ = _store(data, database)
    try:
        if not store.revoke(key, time.time()):
            raise ValueError(f"{key}: no such key, or revoked already")
    finally:
        store.close()
    say(f"{key}: revoked")
    return DONE


@keys_app.command
def secret(
    key: Annotated[str, Parameter(help="Its id; anonymous: of a server without keys.")] = "anonymous", *, data: Data = None, database: Database = None
) -> int:
    """Show what a key's webhooks are signed with."""
    from realgrain.faces.server.webhooks import secret_of, server_secret

    store, folder = _store(data, database)
    try:
        if key != "anonymous" and store.key(key) is None:
            raise ValueError(f"{key}: no such key")
    finally:
        store.close()
    print(secret_of(server_secret(folder / "webhook.secret"), key))
    return DONE


def _store(data: Path | None, database: str | None):  # noqa: ANN202  (its type would load SQLAlchemy)
    from realgrain.faces.server.service import open_store
    from realgrain.faces.server.settings import Settings

    folder = data or default_folder()
    return open_store(Settings(data=folder, database=database)), folder


def _day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
