"""Where this machine's Chromium is."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")

HOW = "install one (on Debian: apt-get install -y chromium), or name it in PARLEY_CHROMIUM"


def find_chromium() -> str | None:
    """The one that PARLEY_CHROMIUM names, or the first on the PATH."""
    named = os.environ.get("PARLEY_CHROMIUM")
    return next((path for name in ([named] if named else NAMES) if (path := shutil.which(name))), None)


def are_required() -> bool:
    """Whether a missing one is a failure."""
    return os.environ.get("PARLEY_REQUIRE_BROWSER") == "1"
