"""The peer these benchmarks measure realgrain against: sahu65 1.1.0, alone in a virtual environment of its own.

It is installed the way its authors mean it to be, with the dependency versions it pins, so that nothing here can be
blamed on a setup they do not support.
"""

import os
import subprocess
import venv
from pathlib import Path

NAME = "sahu65"
VERSION = "1.1.0"


def default_folder() -> Path:
    """Where the peer's virtual environment lives unless told otherwise: under the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "realgrain-benchmarks" / NAME


def python(folder: Path) -> Path:
    """The interpreter inside the virtual environment `folder`."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def program(folder: Path) -> Path:
    """The peer's console command inside the virtual environment `folder`."""
    return folder / (f"Scripts/{NAME}.exe" if os.name == "nt" else f"bin/{NAME}")


def ensure(folder: Path) -> Path:
    """Makes the virtual environment and installs the peer, unless both are already there.

    Args:
        folder: The virtual environment's folder; created when missing (about 500 MB).

    Returns:
        The environment's interpreter.

    Raises:
        subprocess.CalledProcessError: pip could not install the peer; its own message is on stderr.
    """
    if not python(folder).exists():
        venv.create(folder, with_pip=True)
    if versions(python(folder), NAME).get(NAME) != VERSION:
        subprocess.run([str(python(folder)), "-m", "pip", "install", "--quiet", f"{NAME}=={VERSION}"], check=True)
    return python(folder)


def versions(interpreter: str | Path, *packages: str) -> dict[str, str]:
    """The installed versions of `packages`, lower-case names, as `interpreter` sees them; absent ones are left out."""
    code = (
        "import importlib.metadata as m, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(*(f'{n} {found[n]}' for n in sys.argv[1:] if n in found), sep='\\n')"
    )
    command = [str(interpreter), "-c", code, *packages]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(pair for line in lines if len(pair := line.split(" ", 1)) == 2)


def environment(threads: int) -> dict[str, str]:
    """This process's environment with the peer's thread count set and nothing of realgrain's Python in it.

    The peer asks for 8 threads whatever the machine; on fewer cores that slows it down, which would flatter realgrain.

    Args:
        threads: Threads the peer's runtime may use; normally the number of cores.
    """
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    return {**kept, "ORT_INTRA_THREADS": str(threads)}
