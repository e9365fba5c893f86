"""Where errors of the Azure SDK become the Observer's.

Their texts are not repeated: they hold the URL, and with it the signature that opens the account.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from observer_core.shared.errors import LimitExceeded, StorageError, StorageFull, StorageUnavailable

_DENIED = (401, 403)
_PASSING = (404, 408, 409, 429)
"""Not as it should be now: too busy, or somebody is deleting or creating the same thing."""


@contextmanager
def edge(what: str) -> Iterator[None]:
    """`what` is being done inside: whatever the SDK raises comes out as a `StorageError` that says so."""
    try:
        yield
    except AzureError as error:
        raise translate(error, what) from None


def translate(error: AzureError, what: str) -> StorageError:
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None:
        if isinstance(error, ClientAuthenticationError):
            return StorageUnavailable(
                f"{what}: no identity to enter Azure Storage with ({type(error).__name__}); check the "
                "managed identity and __clientId, or sign in (az login)"
            )
        return StorageUnavailable(f"{what}: {_silence(error)}; it may have been done all the same")
    answer = f"{what}: Azure Storage answered {status} {code(error)}".rstrip()
    if status == 413:
        return LimitExceeded(answer)
    if status == 507:
        return StorageFull(answer)
    if status in _DENIED:
        return StorageUnavailable(
            f"{answer}; the identity needs the roles Storage Blob Data Contributor, Storage Table Data "
            "Contributor and Storage Queue Data Contributor, or the key is not this account's"
        )
    if status >= 500 or status in _PASSING:
        return StorageUnavailable(answer)
    return StorageError(answer)


def code(error: AzureError) -> str:
    """The service's own word for it, such as `BlobNotFound`; empty without one."""
    found = getattr(error, "error_code", None) or ""
    return str(getattr(found, "value", found))


def _silence(error: AzureError) -> str:
    inner = getattr(error, "inner_exception", None) or error
    host = getattr(error, "__notes__", ["Azure Storage"])[-1]
    return f"no answer from {host} ({type(inner).__name__})"
