"""What an Observer needs of a storage account and of the Functions host, service by service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observer_core.shared.errors import ObserverError
from observer_core.storage.ports import Op, Storage

if TYPE_CHECKING:
    from observer_core.cli.checkup import Check
    from observer_core.runtime.settings import Settings

_PROBE: Final = b'{"probe":"observer doctor \xe2\x9c\x93"}'
_ROLES: Final = {
    "blobs": "Storage Blob Data Contributor", "tables": "Storage Table Data Contributor",
    "queues": "Storage Queue Data Contributor",
}  # fmt: skip
_HOST: Final[dict[str, Any]] = {
    "extensions.http.routePrefix": "",
    "extensions.queues.messageEncoding": "base64",
}
"""Values of host.json without which the app does not answer, or cannot read its messages."""


def account_checks(settings: Settings) -> Iterator[Check]:
    """Each service of the account, with the role that whoever works it needs."""
    from observer_core.cli.checkup import Check
    from observer_core.runtime.handlers import STAGES
    from observer_core.runtime.storages import open_storage, where

    try:
        storage = open_storage(settings)
    except ObserverError as error:
        remedy = f"Check {settings.storage.connection} in the environment."
        yield Check("storage account", str(error), remedy)
        return
    try:
        yield Check("storage account", where(settings))
        for service, work in (("blobs", _blobs), ("tables", _tables)):
            yield _service(service, partial(work, storage))
        queue = f"{settings.queue_prefix}-doctor"
        yield _service("queues", partial(_queues, storage, queue))
        yield _poison(storage, [f"{settings.queue_prefix}-{stage}-poison" for stage in STAGES])
    finally:
        storage.close()


def _service(service: str, work: Callable[[], str]) -> Check:
    from observer_core.cli.checkup import Check

    try:
        return Check(service, work())
    except ObserverError as error:
        remedy = f"Give this identity the role {_ROLES[service]} on the account, and check the network."
        if "InvalidHeaderValue" in str(error) or "API version" in str(error):
            remedy = "The account's API is older than the SDK: start Azurite with --skipApiVersionCheck."
        return Check(service, str(error), remedy)


def _blobs(storage: Storage) -> str:
    storage.blobs.put("probe/doctor", _PROBE)
    found = storage.blobs.get("probe/doctor")
    storage.blobs.delete("probe/doctor")
    if found != _PROBE:
        raise ObserverError("what was written to a blob was not what was read back")
    return "written, read and deleted"


def _tables(storage: Storage) -> str:
    storage.tables.commit("probe", [Op("upsert", "doctor", _PROBE)])
    storage.tables.commit("probe", [Op("delete", "doctor")])
    return "written and deleted in transactions"


def _queues(storage: Storage, queue: str) -> str:
    """A message comes back as it was sent: both sides encode it in the same way."""
    storage.queues.send(queue, _PROBE)
    found = storage.queues.receive(queue, count=32)
    for message in found:
        storage.queues.delete(queue, message)
    if not any(message.body == _PROBE for message in found):
        raise ObserverError(f"a message to {queue} did not come back as it was sent")
    return "a message came back as it was sent"


def _poison(storage: Storage, queues: list[str]) -> Check:
    from observer_core.cli.checkup import Check

    try:
        waiting = {queue: count for queue in queues if (count := storage.queues.length(queue))}
    except ObserverError as error:
        return Check("poison queues", str(error), f"Give this identity the role {_ROLES['queues']}.")
    if not waiting:
        return Check("poison queues", "empty")
    found = ", ".join(f"{queue}: {count}" for queue, count in waiting.items())
    return Check(
        "poison queues", found, "The app's poison functions take them while it runs; observer dlq ls."
    )


def host_file(path: Path) -> Check | None:
    """Whether host.json says what the app needs; None where there is none."""
    from observer_core.cli.checkup import Check

    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return Check("host.json", f"cannot be read: {error}", "Take the one of this version.")
    wrong = [
        f"{key} is {found!r}, expected {wanted!r}"
        for key, wanted in _HOST.items()
        if (found := _at(values, key)) != wanted
    ]
    return Check(
        "host.json", "; ".join(wrong) or "as this version needs it", "Correct host.json." if wrong else ""
    )


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
