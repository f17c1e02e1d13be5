"""What a process that opens strangers' bytes gives up before it does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PARENT_DEATH, _NO_NEW_PRIVILEGES = 1, 38  # of prctl(2): PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS
GOES_FIRST = 500  # of oom_score_adj, 0 as usual to 1000: first


def child_environment(package: str) -> dict[str, str]:
    """Of a process that is to be confined: nothing but where Python finds its modules.

    Args:
        package: file of the package's ``__init__``.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    paths = [str(Path(package).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def confine(memory: int) -> None:
    """Take from this process what opening a picture does not need; and have it end with its server, also one that hangs."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        with contextlib.suppress(OSError):  # where memory runs out, it is this process that goes, and not the server
            Path("/proc/self/oom_score_adj").write_text(str(GOES_FIRST))
    try:
        import resource
    except ImportError:  # not on Windows: there, only the clock guards
        return
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux
        taken = 2**31
    for what, most in ((resource.RLIMIT_AS, taken + memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64)):
        resource.setrlimit(what, (most, most))
