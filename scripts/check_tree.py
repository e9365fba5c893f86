"""Finds what must not be committed: hosts of package registries, paths of one machine.

Prints `file:line: what` for each and exits with 1; 0 when there is none; 2 without git.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "host of a package registry": re.compile(
        r"(?:pypi|pythonhosted|npmjs|yarnpkg|crates)\.(?:org|com|io)\b"
        r"|(?:deb|security|archive)\.(?:debian|ubuntu)\.(?:org|com)\b"
    ),
    "path of one machine": re.compile(
        r"(?<![\w.~-])/(?:(?:home|Users)/(?!(?:qts|runner|site|data|LogFiles)\b)\w|root/|work/(?:main|shared)\b)"
    ),
}


def findings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, what it is and the text, for each forbidden thing in one file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    for number, line in enumerate(lines, start=1):
        for what, pattern in FORBIDDEN.items():
            if match := pattern.search(line):
                yield number, what, match.group()


def tracked(root: Path) -> list[Path]:
    """Files that git holds, or would hold after `git add --all`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    return [root / name for name in listing.decode().split("\0") if name and (root / name).is_file()]


def main() -> int:
    try:
        paths = tracked(ROOT)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"check_tree: cannot list the files of this checkout with git: {error}", file=sys.stderr)
        return 2
    found = [
        f"{path.relative_to(ROOT)}:{number}: {what}: {text}"
        for path in paths
        for number, what, text in findings(path)
    ]
    print("\n".join(found) if found else f"check_tree: {len(paths)} files, nothing forbidden")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
