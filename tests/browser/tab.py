"""A tab of a real Chromium that writes down whatever goes wrong in it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, Response

from tests.browser import axe
from tests.browser.chromium import ROOT

VIEWS: Final = tuple(sorted(path.stem for path in (ROOT / "observer_core/web/page/views").glob("*.js")))
DESKTOP: Final = (1280, 800)
PHONE: Final = (360, 740)
_WATCH: Final = """
    window.__violations = [];
    document.addEventListener("securitypolicyviolation",
        event => __violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
    window.__shifts = [];
    new PerformanceObserver(list => __shifts.push(...list.getEntries().map(entry => ({
        value: entry.value, at: entry.startTime, recent: entry.hadRecentInput,
        nodes: entry.sources.map(source => source.node?.outerHTML?.slice(0, 100) ?? String(source.node)),
    })))).observe({type: "layout-shift", buffered: true});
"""
_SETTLED: Final = """async link => {
    if (document.documentElement.dataset.live !== link || !document.querySelector("main h1")) return false;
    if (document.querySelector(".skeleton")) return false;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    return document.documentElement.dataset.live === link && !document.querySelector(".skeleton");
}"""


class Tab:
    """One tab in a context of its own: no cookie, cache or preference of another.

    Everything of Playwright's `Page` can be asked of it. `problems` is what went wrong and was not
    allowed: an error in the console or the program, a violation of the Content-Security-Policy, a failed
    request, a status of 400 and above, a request to anybody but the site.
    """

    def __init__(
        self, browser: Browser, url: str, *, lang: str = "en", scheme: str = "light", phone: bool = False,
        reduced: bool = False, scale: float = 1.0, shots: Path | None = None, **options: Any,
    ) -> None:  # fmt: skip
        width, height = PHONE if phone else DESKTOP
        self.url = url
        self.context: BrowserContext = browser.new_context(
            locale={"en": "en-US", "ko": "ko-KR"}[lang], timezone_id="UTC", color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": height}, device_scale_factor=scale, is_mobile=phone,
            has_touch=phone, reduced_motion="reduce" if reduced else "no-preference", **options,
        )  # fmt: skip
        self.context.add_init_script(_WATCH)
        self.context.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.responses: list[Response] = []
        self._allowed: list[re.Pattern[str]] = []
        self._shots = shots
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._problem(f"error in the page: {error}"))
        self.context.on("request", self._request)
        self.context.on("requestfailed", self._failed)
        self.context.on("response", self._response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    # ------------------------------------------------------------------ looking

    def goto(self, view: str = "now", identity: str | None = None, **params: str) -> None:
        """Opens a view as a link to it does, and waits until it is drawn from answers of the server."""
        self.page.goto(self.address(view, identity, **params))
        self.settle()

    def address(self, view: str, identity: str | None = None, **params: str) -> str:
        """Where a view is."""
        path = f"#/{view}" + (f"/{quote(identity, safe='')}" if identity else "")
        return f"{self.url}/{path}" + (f"?{urlencode(params)}" if params else "")

    def settle(self, link: str = "live") -> None:
        """Until nothing is being loaded any more, and the page takes its link to the server to be `link`."""
        self.eventually(f"({_SETTLED})({json.dumps(link)})")

    @property
    def link(self) -> str:
        """What the page takes its link to the server to be."""
        return str(self.page.evaluate("document.documentElement.dataset.live ?? ''"))

    def says(self, text: str | re.Pattern[str]) -> Locator:
        """What shows this text, waited for until it is seen."""
        found = self.page.get_by_text(text).filter(visible=True).first
        found.wait_for()
        return found

    @property
    def text(self) -> str:
        """All that a person can read now."""
        return self.page.locator("body").inner_text()

    def eventually(self, condition: str, *, seconds: float = 10.0, pause: float = 0.02) -> None:
        """Waits until a JavaScript expression is true.

        It is asked from here, again and again: the page's policy forbids what Playwright's own
        `wait_for_function` does, which is to evaluate a text in the page.
        """
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, (
                f"it did not happen within {seconds:g} s: {condition}\n{self.text[:800]}"
            )
            time.sleep(pause)

    # ------------------------------------------------------------------ judging

    def axe(self) -> list[str]:
        """What is not accessible on what is shown now."""
        return axe.violations(self.page)

    def shot(self, name: str, **options: Any) -> Path:
        """A picture of what is shown now, kept for who reads the test's results."""
        folder = self._shots or Path(os.environ.get("OBSERVER_SHOTS") or Path(__file__).parent / ".shots")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled", caret="hide", **options)
        return path

    def shifted(self) -> list[dict[str, Any]]:
        """Layout shifts that nobody caused by an input."""
        found: list[dict[str, Any]] = self.page.evaluate("__shifts.filter(shift => !shift.recent)")
        return found

    def allow(self, *patterns: str) -> None:
        """Problems that match one of these are meant."""
        self._allowed += [re.compile(pattern) for pattern in patterns]

    def close(self) -> None:
        """Ends it; fails when something went wrong in it."""
        if not self.page.is_closed() and self.page.url.startswith("http"):
            for violation in self.page.evaluate("window.__violations ?? []"):
                self._problem(f"Content-Security-Policy: {violation}")
        self.context.close()
        problems = [it for it in self.problems if not any(found.search(it) for found in self._allowed)]
        assert not problems, "in the tab:\n" + "\n".join(problems)

    # ------------------------------------------------------------------ watching

    def _problem(self, text: str) -> None:
        self.problems.append(text)

    def _console(self, message: ConsoleMessage) -> None:
        # That a canvas is read back is the tests' own doing.
        if message.type in ("error", "warning") and not message.text.startswith(
            "Canvas2D: Multiple readback"
        ):
            where = message.location.get("url", "")
            self._problem(f"console {message.type}: {message.text} ({where})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.url:
            self._problem(f"request to somebody else: {request.url}")

    def _failed(self, request: Request) -> None:
        # What the page gives up itself, because it is no longer wanted, is no failure.
        if request.failure != "net::ERR_ABORTED":
            self._problem(f"request failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        self.responses.append(response)
        if response.status >= 400:
            self._problem(f"status {response.status}: {response.url}")


OpenTab = Callable[..., Tab]
"""`open_tab(site, lang=…, scheme=…, phone=…, reduced=…)`: a tab that is judged and closed after the test."""
