"""Where the storage account is and how it is entered, from settings as the Functions host spells them.

Either `AzureWebJobsStorage` holds a connection string, or an identity is used and
`AzureWebJobsStorage__accountName` (or `__blobServiceUri`, `__queueServiceUri` and
`__tableServiceUri`) says where; `__credential` = `managedidentity` and `__clientId` name
the identity. Nothing here reads the environment.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from observer_core.shared.errors import ConfigError

SETTING: Final = "AzureWebJobsStorage"
Service = Literal["blob", "queue", "table"]
_SERVICES: Final[tuple[Service, ...]] = ("blob", "queue", "table")
_SUFFIX: Final = "core.windows.net"
_THIS_MACHINE: Final = "http://127.0.0.1"
EMULATOR: Final[Mapping[str, str]] = {
    "accountname": "devstoreaccount1",
    # Public: the same key in every storage emulator.
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": f"{_THIS_MACHINE}:10000/devstoreaccount1",
    "queueendpoint": f"{_THIS_MACHINE}:10001/devstoreaccount1",
    "tableendpoint": f"{_THIS_MACHINE}:10002/devstoreaccount1",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """An account's three services and one way in: its key, a signature, or (without both) an identity."""

    blob: str
    queue: str
    table: str
    account: str = ""
    key: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    managed: bool = False
    """Only the managed identity, instead of whatever `DefaultAzureCredential` finds."""
    client_id: str | None = None

    @staticmethod
    def of(values: Mapping[str, str], name: str = SETTING) -> Connection:
        """The connection that `values` (of the environment, say) give under `name`.

        `ConfigError` names the setting that is missing or wrong, and never repeats a secret.
        """
        text = values.get(name, "").strip()
        if text:
            return _from_string(text, name)
        given = {key.partition("__")[2].lower(): key for key in values if key.startswith(f"{name}__")}
        setting = {short: values[key].strip() for short, key in given.items() if values[key].strip()}
        account = setting.get("accountname", "")
        urls = {}
        for service in _SERVICES:
            url = setting.get(f"{service}serviceuri") or (
                f"https://{account}.{service}.{_SUFFIX}" if account else ""
            )
            if not url:
                raise ConfigError(
                    f"{name}__{service}ServiceUri is not set: give a connection string in {name}, or "
                    f"{name}__accountName, or all of {name}__blobServiceUri, __queueServiceUri and "
                    "__tableServiceUri"
                )
            urls[service] = _url(url, f"{name}__{service}ServiceUri")
        credential = setting.get("credential", "").lower()
        if credential not in ("", "managedidentity"):
            raise ConfigError(
                f"{name}__credential is {credential!r}: managedidentity was expected, or nothing"
            )
        return Connection(
            urls["blob"], urls["queue"], urls["table"],
            account=account or (urlsplit(urls["table"]).hostname or "").partition(".")[0],
            managed=credential == "managedidentity", client_id=setting.get("clientid"),
        )  # fmt: skip


def _from_string(text: str, name: str) -> Connection:
    parts: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(
                f"{name} is not a connection string: NAME=VALUE parts joined by ; were expected"
            )
        parts[key.strip().lower()] = value.strip()
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        host = parts.get("developmentstorageproxyuri", _THIS_MACHINE).rstrip("/")
        parts = {key: value.replace(_THIS_MACHINE, host) for key, value in EMULATOR.items()}
    account, key = parts.get("accountname", ""), parts.get("accountkey", "")
    signature = parts.get("sharedaccesssignature", "").lstrip("?")
    if not signature and not (account and key):
        raise ConfigError(f"{name} lacks AccountName and AccountKey, or a SharedAccessSignature")
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ConfigError(f"{name}: AccountKey is not base64; copy the connection string anew") from None
    urls = {}
    for service in _SERVICES:
        url = parts.get(f"{service}endpoint", "")
        if not url:
            if not account:
                raise ConfigError(f"{name} lacks AccountName, or {service.capitalize()}Endpoint")
            scheme, suffix = (
                parts.get("defaultendpointsprotocol", "https"),
                parts.get("endpointsuffix", _SUFFIX),
            )
            url = f"{scheme}://{account}.{service}.{suffix}"
        urls[service] = _url(url, f"{service.capitalize()}Endpoint in {name}")
    return Connection(
        urls["blob"], urls["queue"], urls["table"],
        account=account, key="" if signature else key, signature=signature,
    )  # fmt: skip


def _url(text: str, setting: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise ConfigError(
            f"{setting} is not a service's address: https://HOST was expected, without query or signature"
        )
    return text.rstrip("/")
