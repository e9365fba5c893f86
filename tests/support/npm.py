"""npm projects that tests need: installed once, as their lock file says."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path


class NpmMissing(RuntimeError):
    """The tests need something of npm and cannot have it."""


def install(folder: Path, what: str) -> None:
    """Does nothing when what is pinned is there; processes that come at once wait for the first.

    `what`: the tests and what they need, for who has to install Node.js.
    """
    installed = folder / "node_modules" / ".installed"
    with (folder / "package-lock.json").open() as pinned:
        fcntl.flock(pinned, fcntl.LOCK_EX)
        wanted = pinned.read()
        if installed.exists() and installed.read_text() == wanted:
            return
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise NpmMissing(
                f"{what}: install Node.js 20 or newer with npm "
                "(Debian: apt-get install nodejs npm) and repeat"
            )
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NpmMissing(f"npm ci in {folder} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        installed.write_text(wanted)
