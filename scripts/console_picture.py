"""Makes docs/images/console.svg: a real run of the shipped configuration, as its console shows it."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console as Terminal

from observer_core.runtime import settings
from observer_core.runtime.console import Console
from observer_core.runtime.standalone import Standalone
from observer_core.web.app import create_app
from observer_core.web.server import WebServer

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "console.svg"
SECONDS = 7.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part in ("config", "examples"):
            shutil.copytree(ROOT / part, Path(folder) / part)
        chosen = settings.load(root=Path(folder), durability="normal", subscription=())
        standalone = Standalone(chosen)
        terminal = Terminal(record=True, width=132, file=io.StringIO(), force_terminal=True, highlight=False)
        console = Console(standalone.observer, standalone.gate, terminal=terminal, table=False)

        def serve(running: Standalone) -> WebServer:
            app = create_app(
                running.observer, health=running.health, metrics=running.metrics, gate=running.gate
            )
            return WebServer(app, running.settings.web.host, running.settings.web.port)

        standalone.run(console, serve, SECONDS)
        text = terminal.export_svg(title="make run")
    # Without the fonts that rich would fetch from elsewhere.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.S))


if __name__ == "__main__":
    main()
