"""What goes over the wire, counted: every attempt of the SDK and every page is one operation on the bill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import HttpTransport

from observer_core.storage.operations import Kind, Operations

Classify = Callable[[str, str, str], Kind]
"""From method, path and query."""


class Wire(HttpTransport[Any, Any]):
    """One service's way to the network, which all services of a storage share and the storage closes."""

    def __init__(self, shared: HttpTransport[Any, Any], operations: Operations, classify: Classify) -> None:
        self._shared, self._operations, self._classify = shared, operations, classify

    def send(self, request: Any, **options: Any) -> Any:
        url = urlsplit(request.url)
        self._operations.add(self._classify(request.method, url.path, url.query))
        try:
            return self._shared.send(request, **options)
        except AzureError as error:
            error.add_note(url.netloc)  # all of the URL that may be told
            raise

    def open(self) -> None:
        self._shared.open()

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def blob_kind(method: str, path: str, query: str) -> Kind:
    if method == "PUT":
        if "restype=container" in query:
            return "container.create"
        return "blob.append" if "comp=appendblock" in query else "blob.write"
    if method == "DELETE":
        return "blob.delete"
    return "blob.list" if "comp=list" in query else "blob.read"


def table_kind(method: str, path: str, query: str) -> Kind:
    if method == "POST":
        return "table.transaction" if path.endswith("$batch") else "table.create"
    return "table.read" if path.endswith(")") and not path.endswith("()") else "table.query"


def queue_kind(method: str, path: str, query: str) -> Kind:
    if "/messages" in path:
        return {"POST": "queue.send", "DELETE": "queue.delete"}.get(method, "queue.receive")  # type: ignore[return-value]
    return "queue.create" if method == "PUT" else "queue.length"
