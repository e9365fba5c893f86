"""Copies what the page is made of from the locked npm packages into the package: as published, but for
imports between the files (relative, so that a browser finds them) and links to source maps (taken out).

`make vendor` installs the packages and runs this; tests/unit/web/test_vendored.py checks the result.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules"
TARGET = HERE.parent.parent / "observer_core" / "web" / "page" / "vendor"
FILES = {
    "preact.js": ("preact", "dist/preact.mjs"),
    "hooks.js": ("preact", "hooks/dist/hooks.mjs"),
    "htm.js": ("htm", "dist/htm.mjs"),
    "uplot.js": ("uplot", "dist/uPlot.esm.js"),
    "uplot.css": ("uplot", "dist/uPlot.min.css"),
}
IMPORTS = {'"preact"': '"./preact.js"'}
# For the type checker only: a browser is never sent them.
TYPES = {
    "preact.d.ts": 'export * from "preact";\n',
    "hooks.d.ts": 'export * from "preact/hooks";\n',
    "htm.d.ts": 'export { default } from "htm";\n',
    "uplot.d.ts": 'export { default } from "uplot";\n',
}
_SOURCE_MAP = re.compile(r"\s*//# sourceMappingURL=\S+\s*$")


def main() -> int:
    if not (PACKAGES / "preact").is_dir():
        print("vendor: the npm packages are not installed; run make vendor", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in TARGET.iterdir():
        old.unlink()
    manifest = []
    for name, (package, path) in FILES.items():
        about = json.loads((PACKAGES / package / "package.json").read_text("utf-8"))
        text = _SOURCE_MAP.sub("", (PACKAGES / package / path).read_text("utf-8")).rstrip() + "\n"
        for found, wanted in IMPORTS.items():
            text = text.replace(f"from{found}", f"from{wanted}")
        (TARGET / name).write_text(text, "utf-8")
        licence = f"LICENSE.{package}"
        (TARGET / licence).write_text((PACKAGES / package / "LICENSE").read_text("utf-8"), "utf-8")
        manifest.append(
            {
                "file": name,
                "package": package,
                "version": about["version"],
                "path": path,
                "licence": about["license"],
                "licence_file": licence,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
        )
    for name, text in TYPES.items():
        (TARGET / name).write_text(text, "utf-8")
    (TARGET / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    print(f"vendor: {len(manifest)} files in {TARGET.relative_to(HERE.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
