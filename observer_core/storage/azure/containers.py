"""Blob containers under one prefix, made when they are first missed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient

from observer_core.shared.errors import LimitExceeded
from observer_core.storage.azure.edge import code

_POSSIBLE = re.compile(r"[a-z0-9](?:-?[a-z0-9])+")
_REMEMBERED: Final = 256


class Containers:
    """`name/rest of a blob's name` → a blob's client. Clients are made when needed and kept."""

    def __init__(self, service: Callable[[], BlobServiceClient], prefix: str) -> None:
        self._connect, self._prefix = service, prefix
        self._containers: dict[str, ContainerClient] = {}
        self._blobs: dict[str, BlobClient] = {}

    @cached_property
    def _service(self) -> BlobServiceClient:
        return self._connect()

    def blob(self, container: str, name: str) -> BlobClient:
        path = f"{container}/{name}"
        client = self._blobs.get(path)
        if client is None:
            if len(self._blobs) >= _REMEMBERED:
                self._blobs.clear()
            client = self._blobs[path] = self.container(container).get_blob_client(name)
        return client

    def container(self, name: str) -> ContainerClient:
        client = self._containers.get(name)
        if client is None:
            full = self._prefix + name
            if not 3 <= len(full) <= 63 or not _POSSIBLE.fullmatch(full):
                raise LimitExceeded(
                    f"container {full!r} is not possible: 3 to 63 of a-z, 0-9 and single inner hyphens"
                )
            client = self._containers[name] = self._service.get_container_client(full)
        return client

    def create(self, name: str) -> None:
        """Makes the container unless somebody else just has."""
        try:
            self.container(name).create_container()
        except HttpResponseError as error:
            if code(error) != "ContainerAlreadyExists":
                raise

    def names(self, prefix: str) -> Iterator[str]:
        """Containers whose names begin so."""
        for found in self._service.list_containers(name_starts_with=self._prefix + prefix):
            yield found.name[len(self._prefix) :]
