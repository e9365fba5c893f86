"""Whole values on block blobs, all in one container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from azure.core.exceptions import HttpResponseError

from observer_core.shared.errors import NotFound
from observer_core.storage.azure.containers import Containers
from observer_core.storage.azure.edge import code, edge

CONTAINER: Final = "state"


class AzureBlobs:
    """`put` is one operation, and whole: readers see the old value or the new one."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def put(self, name: str, data: bytes) -> None:
        with edge(f"write blob {name!r}"):
            blob = self._containers.blob(CONTAINER, name)
            try:
                blob.upload_blob(data, overwrite=True)
            except HttpResponseError as error:
                if code(error) != "ContainerNotFound":
                    raise
                self._containers.create(CONTAINER)
                blob.upload_blob(data, overwrite=True)

    def get(self, name: str) -> bytes:
        with edge(f"read blob {name!r}"):
            try:
                data: bytes = self._containers.blob(CONTAINER, name).download_blob().readall()
            except HttpResponseError as error:
                if error.status_code == 404:
                    raise NotFound("blob", name) from None
                raise
            return data

    def list(self, prefix: str = "") -> Iterator[str]:
        with edge(f"list blobs {prefix!r}"):
            try:
                found = self._containers.container(CONTAINER).list_blobs(name_starts_with=prefix or None)
                return iter(sorted(blob.name for blob in found))
            except HttpResponseError as error:
                if code(error) != "ContainerNotFound":
                    raise
                return iter(())

    def delete(self, name: str) -> None:
        with edge(f"delete blob {name!r}"):
            try:
                self._containers.blob(CONTAINER, name).delete_blob()
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise
