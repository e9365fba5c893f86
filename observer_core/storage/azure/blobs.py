"""Whole values on block blobs: all in one container, or beside the segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient

from observer_core.shared.errors import NotFound
from observer_core.storage.archive.pack import EXTENSION
from observer_core.storage.azure.containers import Containers
from observer_core.storage.azure.edge import code, edge

CONTAINER: Final = "state"


class AzureBlobs:
    """`put` is one operation, and whole: readers see the old value or the new one."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def _place(self, name: str) -> tuple[str, str]:
        """The container of a blob, and its name there."""
        return CONTAINER, name

    def _blob(self, name: str) -> BlobClient:
        return self._containers.blob(*self._place(name))

    def put(self, name: str, data: bytes) -> None:
        with edge(f"write blob {name!r}"):
            blob = self._blob(name)
            try:
                blob.upload_blob(data, overwrite=True)
            except HttpResponseError as error:
                if code(error) != "ContainerNotFound":
                    raise
                self._containers.create(self._place(name)[0])
                blob.upload_blob(data, overwrite=True)

    def get(self, name: str) -> bytes:
        with edge(f"read blob {name!r}"):
            try:
                data: bytes = self._blob(name).download_blob().readall()
            except HttpResponseError as error:
                if error.status_code == 404:
                    raise NotFound("blob", name) from None
                raise
            return data

    def list(self, prefix: str = "") -> Iterator[str]:
        with edge(f"list blobs {prefix!r}"):
            return iter(sorted(self._names(CONTAINER, prefix)))

    def _names(self, container: str, prefix: str) -> Sequence[str]:
        try:
            found = self._containers.container(container).list_blobs(name_starts_with=prefix or None)
            return [blob.name for blob in found]
        except HttpResponseError as error:
            if code(error) != "ContainerNotFound":
                raise
            return []

    def delete(self, name: str) -> None:
        with edge(f"delete blob {name!r}"):
            try:
                self._blob(name).delete_blob()
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise

    def tidy(self) -> None:
        """Nothing: what is not written whole is not there."""


class AzureArchives(AzureBlobs):
    """The first part of a name is the container, as that of a segment is."""

    def _place(self, name: str) -> tuple[str, str]:
        container, _, rest = name.partition("/")
        return container, rest

    def list(self, prefix: str = "") -> Iterator[str]:
        container, inside, rest = prefix.partition("/")
        with edge(f"list archives {prefix!r}"):
            # A prefix without a "/" may be the beginning of several containers' names.
            names = [container] if inside else sorted(self._containers.names(container))
            found = [f"{name}/{blob}" for name in names for blob in self._names(name, rest)]
        return iter(sorted(name for name in found if name.endswith(EXTENSION)))
