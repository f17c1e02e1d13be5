"""Where a browser is, for what renders pages or looks at them: Debian's chromium, or another that is on the path."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def path() -> str | None:
    """The browser to use, which ``REALGRAIN_BROWSER`` may name; None: there is none."""
    return os.environ.get("REALGRAIN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


def arguments() -> list[str]:
    """What it is started with: its sandbox does not work for root."""
    return ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
