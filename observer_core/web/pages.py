"""The web page: GET / for browsers (the list of endpoints for others), and the files that it loads.

Files are read once; only these are ever served, whatever a path says. They are compressed at the first
request and kept so. URLs in them are relative: the page works wherever `/` is put.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final

import brotli  # type: ignore[import-untyped]
from fastapi import APIRouter, Depends, FastAPI, Path
from starlette.requests import Request
from starlette.responses import Response

import observer_core
from observer_core.web import etags, openapi
from observer_core.web.access import needs
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_PACKED: Final = frozenset({".ico", ".png", ".woff2"})
_INDEX: Final = "index.html"
_POLICY: Final = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
        "connect-src 'self'", "font-src 'self'", "manifest-src 'self'", "base-uri 'none'",
        "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)  # fmt: skip
_OWN: Final = {"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "same-origin"}
_PAGE: Final = {
    **_OWN,
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page, and how it is sent."""

    body: bytes
    kind: str
    packed: bool

    @cached_property
    def etag(self) -> str:
        return etags.tag(self.body)

    @cached_property
    def coded(self) -> Mapping[str, bytes]:
        """The body in every coding that makes it smaller, the smallest first."""
        if self.packed:
            return {}
        made = {"br": brotli.compress(self.body, quality=9), "gzip": gzip.compress(self.body, 9, mtime=0)}
        return {coding: body for coding, body in made.items() if len(body) < len(self.body)}

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        accepted = _qualities(request.headers.get("accept-encoding", ""))
        wanted = (name for name in self.coded if accepted.get(name, accepted.get("*", 0.0)) > 0)
        coding = next(wanted, None)
        etag = self.etag if coding is None else etags.coded(self.etag, coding)
        vary = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
        sent = {**headers, "ETag": etag, "Vary": vary}
        same = etags.known(request.headers.get("if-none-match"), self.etag)
        if same is not None:
            return Response(status_code=304, headers={**sent, "ETag": same})
        if coding is None:
            return Response(self.body, headers=sent, media_type=self.kind)
        sent["Content-Encoding"] = coding
        return Response(self.coded[coding], headers=sent, media_type=self.kind)


def router(context: Context, app: FastAPI) -> APIRouter:
    """/, /assets/…, /v1/openapi.json."""
    routes = APIRouter(tags=["api"])
    files = dict(_files(resources.files("observer_core.web") / "page"))
    page = files.pop(_INDEX, None)
    kept: dict[str, Any] = {}

    @routes.get("/", responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}})
    async def index(request: Request) -> Response:
        """The web page for browsers, the list of endpoints for others."""
        if page is not None and _prefers_html(request.headers.get("accept", "")):
            await context.read(lambda: page.coded)
            return page.response(request, {**_PAGE, "Vary": "Accept"})
        if "index" not in kept:
            kept["index"] = {
                "name": app.title, "version": observer_core.__version__, "endpoints": openapi.endpoints(app),
            }  # fmt: skip
        return answer(kept["index"], headers={"Vary": "Accept"})

    @routes.get("/assets/{path:path}", include_in_schema=False)
    async def asset(request: Request, path: Annotated[str, Path()]) -> Response:
        """A file of the web page."""
        found = files.get(path)
        if found is None:
            raise Problem(404, "the web page has no such file; load it anew")
        await context.read(lambda: found.coded)
        return found.response(request, _OWN)

    @routes.get(
        "/v1/openapi.json",
        responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
        dependencies=[Depends(needs(None))],
    )  # fmt: skip
    async def described() -> Response:
        """This API as OpenAPI 3.1."""
        if "openapi" not in kept:
            kept["openapi"] = await context.read(lambda: openapi.document(app))
        return answer(kept["openapi"])

    return routes


def _files(folder: Traversable, under: str = "") -> Iterator[tuple[str, PageFile]]:
    """Everything below the folder that a browser can use, by its path from there."""
    for item in folder.iterdir():
        suffix = "." + item.name.rpartition(".")[2]
        if item.is_dir():
            yield from _files(item, f"{under}{item.name}/")
        elif suffix in _KINDS:
            yield under + item.name, PageFile(item.read_bytes(), _KINDS[suffix], suffix in _PACKED)


def _prefers_html(accept: str) -> bool:
    """Whether a page is wanted rather than JSON: a browser says so, `*/*` does not."""
    wanted = _qualities(accept)
    anything = wanted.get("*/*", 0.0)
    html = wanted.get("text/html", wanted.get("text/*", anything))
    return html > wanted.get("application/json", wanted.get("application/*", anything))


def _qualities(header: str) -> dict[str, float]:
    """The items of an Accept header with their weights."""
    found = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[name] = float(weight)
        except ValueError:
            found[name] = 0.0
    return found
