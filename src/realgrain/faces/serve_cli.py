"""The commands ``serve`` and ``keys``. The command line loads them when they are asked for."""

from __future__ import annotations

import ipaddress
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from realgrain.faces.options import DONE, WRONG_USAGE, Bundle, Offline, Runtime, Threads, say

if TYPE_CHECKING:
    from realgrain.faces.server.settings import Settings
    from realgrain.faces.server.shield import Shield

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
OURS = 0o077  # umask: what is kept is for the server's user alone, also where the folder was there before and is open to others
JUDGING = 10  # seconds, beyond those for decoding, that a request which is being answered has to end when the server ends
SIZE = Number(gte=0.001, lte=1_000_000)  # MiB, or millions of pixels
SECONDS = Number(gt=0, lte=86_400)
DAYS = Number(gt=0, lte=36_500)


def _each(form: str, words: str) -> Callable[[object, Sequence[str]], None]:
    """A validator of texts that have a form, as a regular expression and in words."""

    def check(_: object, given: Sequence[str]) -> None:
        for text in given:
            if not re.fullmatch(form, text):
                raise ValueError(f"{text!r} is not {words}, in small letters, and could never match.")

    return check


ORIGIN = _each(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", "SCHEME://HOST or SCHEME://HOST:PORT")
PLACE = _each(r"[a-z0-9._:-]+:[0-9]{1,5}", "NAME:PORT")
Data = Annotated[
    Path | None, Parameter(env_var="REALGRAIN_DATA", help="Folder for jobs, uploads and keys; without it, one in the user's own data folder.")
]
Database = Annotated[
    str | None,
    Parameter(
        env_var="REALGRAIN_DATABASE",
        help="Address of SQLAlchemy, such as postgresql+psycopg://user@host/name; without it, SQLite in the data folder.",
    ),
]
Password = Annotated[
    Path | None,
    Parameter(env_var="REALGRAIN_DATABASE_PASSWORD_FILE", help="File with the database's password, which then is in no command line or variable."),
]


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0: any that is free.", validator=Number(gte=0, lte=65_535))] = 8000,
    data: Data = None,
    database: Database = None,
    database_password_file: Password = None,
    auth: Annotated[
        bool | None,
        Parameter(
            negative="--no-auth", help="Ask for API keys. Without either, keys are asked for if there are any; none is needed on this machine only."
        ),
    ] = None,
    allow_urls: Annotated[bool, Parameter(negative="", help="Fetch pictures from addresses in the public internet.")] = False,
    private_host: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="NAME:PORT that fetching and webhooks may reach though it is not public. May be repeated.", validator=PLACE),
    ] = (),
    cors: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Origin, SCHEME://HOST:PORT, whose pages may call the service. May be repeated.", validator=ORIGIN),
    ] = (),
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            help="Name that the server answers under, beside this machine's own. May be repeated. Without it, a server that only this machine can "
            "reach and that asks for no keys answers under this machine's own names, and any other under all.",
        ),
    ] = (),
    rate: Annotated[str, Parameter(help="Requests of one key, or of one address without keys.")] = "120/minute",
    max_mib: Annotated[float, Parameter(help="Size of one picture at most, MiB.", validator=SIZE)] = 32,
    max_megapixels: Annotated[float, Parameter(help="Pixels of one picture at most, millions.", validator=SIZE)] = 64,
    seconds: Annotated[float, Parameter(help="For decoding one picture.", validator=SECONDS)] = 20,
    max_clip_mib: Annotated[float, Parameter(help="Size of one clip at most, MiB.", validator=SIZE)] = 32,
    max_clip_seconds: Annotated[float, Parameter(help="Length of one clip at most.", validator=SECONDS)] = 60,
    workers: Annotated[int, Parameter(help="Processes that decode; 0: one for each processor.", validator=Number(gte=0))] = 0,
    jobs_waiting: Annotated[int, Parameter(help="Jobs of one key that have not ended, at most.", validator=Number(gte=1))] = 100,
    keep_days: Annotated[float, Parameter(help="That results of jobs are kept.", validator=DAYS)] = 7,
    runtime: Runtime = "onnxruntime",
    bundle: Bundle = None,
    trust_list: Annotated[Path | None, Parameter(help="Certificates in PEM whose C2PA signatures are trusted; without it, none is.")] = None,
    offline: Offline = False,
    threads: Threads = None,
    access_log: Annotated[bool, Parameter(negative="", help="Log each request's address, path and status.")] = False,
    drain: Annotated[
        float,
        Parameter(
            help="Seconds after SIGTERM that it still takes requests while /ready says no, for a balancer to see.",
            validator=Number(gte=0, lte=86_400),
        ),
    ] = 0,
) -> int:
    """Serve a detector over HTTP, with a page at /."""
    from realgrain.detector.detect import load
    from realgrain.evidence.c2pa import read_trust_list
    from realgrain.faces.server.app import create
    from realgrain.faces.server.service import hold
    from realgrain.faces.server.settings import MIB, Settings

    os.umask(OURS)
    folder, database = data or default_folder(), _address(database, database_password_file)
    hold(folder).release()  # whether another server has it is said now, in a line, and not after the detector is loaded
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
    if allow_host or (local and not settings.auth):
        settings = settings.model_copy(update={"hosts": (*LOCAL_NAMES, host, *allow_host)})
    if trust_list is not None:
        read_trust_list(trust_list)  # what is wrong with it is said now, and not by a worker
    leaving = threading.Event()
    app = create(settings, load(bundle, runtime=runtime, offline=offline, threads=threads, many=True), trust_list, leaving)
    say(f"data in {folder}; {'API keys are needed' if settings.auth else 'no API keys are needed'}")
    return _run(app, settings, host, port, access_log, drain, leaving)


def _run(app: Shield, settings: Settings, host: str, port: int, access_log: bool, drain: float, leaving: threading.Event) -> int:
    import uvicorn

    from realgrain.faces.server.leaving import Leaving
    from realgrain.faces.server.protocol import protocol

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol(settings.header_seconds, settings.connections, app.full),
        ws="none",
        lifespan="on",
        access_log=access_log,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=settings.header_bytes,
        timeout_graceful_shutdown=int(settings.seconds) + JUDGING,
        log_level="info",
    )
    try:
        Leaving(config, drain, leaving).run()
    except SystemExit:  # it could not start, and has logged why
        return WRONG_USAGE
    return DONE


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
        keys = store.all_keys()
    finally:
        store.close()
    usable = any(key.revoked is None and (key.ends is None or key.ends > now) for key in keys)
    if asked is None and keys and not usable:
        raise ValueError("every API key is revoked or has ended: make one with `realgrain keys add NAME`, or say --no-auth")
    if asked is None and not local and not usable:
        raise ValueError("others could reach this address, and there are no API keys: make one with `realgrain keys add NAME`, or say --no-auth")
    if asked and not usable:
        raise ValueError("there are no API keys: make one with `realgrain keys add NAME`")
    return usable if asked is None else asked


def _address(database: str | None, password: Path | None) -> str | None:
    """A database's address with the password out of a file.

    Raises:
        ValueError: there is nothing in it, or no database that it could be for.
    """
    if password is None:
        return database
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if database is None:
        raise ValueError("a password for the database, but no --database")
    if not (found := password.read_text().rstrip("\r\n")):
        raise ValueError(f"{password}: no password in it")
    try:
        return make_url(database).set(password=found).render_as_string(hide_password=False)
    except ArgumentError as error:
        raise ValueError(f"--database: {error}") from None


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
    days: Annotated[float | None, Parameter(help="That it works; without it, until it is revoked.", validator=DAYS)] = None,
    data: Data = None,
    database: Database = None,
    database_password_file: Password = None,
) -> int:
    """Make a key. It is shown once, and kept as a hash. To rotate: make a new one, move to it, revoke the old one."""
    from realgrain.faces.server.auth import make_key
    from realgrain.faces.server.ratelimit import parsed
    from realgrain.faces.server.webhooks import secret_of, server_secret

    if rate is not None:
        parsed(rate)
    if not 0 < len(name) <= 200:
        raise ValueError("a key's name has 1 to 200 characters")
    store, folder = _store(data, database, database_password_file)
    try:
        key = make_key(store, name, tuple(dict.fromkeys(scope)), rate, days)
    finally:
        store.close()
    print(key)
    say(f"the key is shown this once; its webhooks are signed with {secret_of(server_secret(folder / 'webhook.secret'), key.split('_')[1])}")
    return DONE


@keys_app.command(name="list")
def list_(*, data: Data = None, database: Database = None, database_password_file: Password = None) -> int:
    """List keys, without the keys."""
    from rich.table import Table
    from rich.text import Text

    from realgrain.faces import show

    store, _ = _store(data, database, database_password_file)
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
def revoke(
    key: Annotated[str, Parameter(help="Its id, as `keys list` shows it.")],
    *,
    data: Data = None,
    database: Database = None,
    database_password_file: Password = None,
) -> int:
    """Revoke a key; a running server refuses it within seconds."""
    store, _ = _store(data, database, database_password_file)
    try:
        if not store.revoke(key, time.time()):
            raise ValueError(f"{key}: no such key, or revoked already")
    finally:
        store.close()
    say(f"{key}: revoked")
    return DONE


@keys_app.command
def secret(
    key: Annotated[str, Parameter(help="Its id; anonymous: of a server without keys.")] = "anonymous",
    *,
    data: Data = None,
    database: Database = None,
    database_password_file: Password = None,
) -> int:
    """Show what a key's webhooks are signed with."""
    from realgrain.faces.server.webhooks import secret_of, server_secret

    store, folder = _store(data, database, database_password_file)
    try:
        if key != "anonymous" and store.key(key) is None:
            raise ValueError(f"{key}: no such key")
    finally:
        store.close()
    print(secret_of(server_secret(folder / "webhook.secret"), key))
    return DONE


def _store(data: Path | None, database: str | None, password: Path | None):  # noqa: ANN202  (its type would load SQLAlchemy)
    from realgrain.faces.server.service import open_store
    from realgrain.faces.server.settings import Settings

    os.umask(OURS)
    folder = data or default_folder()
    return open_store(Settings(data=folder, database=_address(database, password))), folder


def _day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
