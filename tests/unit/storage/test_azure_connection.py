"""Settings as the Functions host spells them, and what becomes of their secrets."""

from __future__ import annotations

import base64
import subprocess
import sys
import traceback
from typing import Any

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential

from observer_core.shared.errors import ConfigError, StorageUnavailable
from observer_core.storage.azure import AzureStorage
from observer_core.storage.azure.connection import EMULATOR, Connection
from observer_core.storage.ports import Op

KEY = base64.b64encode(b"very secret key").decode()
SIGNATURE = "sv=2024-11-04&sig=very%2Fsecret"


def test_a_connection_string_with_a_key_names_the_public_cloud_unless_it_says_otherwise() -> None:
    plain = Connection.of({"AzureWebJobsStorage": f"AccountName=acc;AccountKey={KEY}"})
    assert (plain.blob, plain.queue, plain.table) == (
        "https://acc.blob.core.windows.net",
        "https://acc.queue.core.windows.net",
        "https://acc.table.core.windows.net",
    )
    assert (plain.account, plain.key, plain.signature) == ("acc", KEY, "")
    china = Connection.of(
        {"Other": f"DefaultEndpointsProtocol=https;accountname=acc;AccountKey={KEY};"
                  "EndpointSuffix=core.chinacloudapi.cn;TableEndpoint=https://tables.example/"},
        "Other",
    )  # fmt: skip
    assert (china.blob, china.table) == ("https://acc.blob.core.chinacloudapi.cn", "https://tables.example")


def test_a_signature_is_taken_with_its_endpoints() -> None:
    text = ";".join(f"{name}Endpoint=https://a.example/{name}" for name in ("Blob", "Queue", "Table"))
    found = Connection.of({"AzureWebJobsStorage": f"{text};SharedAccessSignature=?{SIGNATURE}"})
    assert (found.signature, found.key, found.queue) == (SIGNATURE, "", "https://a.example/Queue")


def test_the_emulator_is_known_by_its_short_name() -> None:
    found = Connection.of({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert found.table == "http://127.0.0.1:10002/devstoreaccount1"
    assert found.account == "devstoreaccount1"


def test_the_emulator_may_be_on_another_machine() -> None:
    text = "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite/"
    found = Connection.of({"AzureWebJobsStorage": text})
    assert (found.blob, found.account) == ("http://azurite:10000/devstoreaccount1", "devstoreaccount1")
    assert (found.queue, found.key) == ("http://azurite:10001/devstoreaccount1", EMULATOR["accountkey"])


def test_an_identity_needs_the_account_or_its_three_services() -> None:
    by_name = Connection.of({"AzureWebJobsStorage__accountName": "acc", "AzureWebJobsStorage": ""})
    assert by_name.queue == "https://acc.queue.core.windows.net"
    assert (by_name.managed, by_name.client_id, by_name.key) == (False, None, "")
    by_uri = Connection.of(
        {f"S__{service}ServiceUri": f"https://{service}.example/" for service in ("blob", "queue", "table")}
        | {"S__credential": "managedidentity", "S__clientId": "id-1"},
        "S",
    )
    assert (by_uri.blob, by_uri.table) == ("https://blob.example", "https://table.example")
    assert (by_uri.managed, by_uri.client_id) == (True, "id-1")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, r"AzureWebJobsStorage__blobServiceUri is not set: .*__accountName"),
        ({"AzureWebJobsStorage__blobServiceUri": "https://b.example"}, "__queueServiceUri is not set"),
        ({"AzureWebJobsStorage__accountName": "a", "AzureWebJobsStorage__credential": "magic"},
         "'magic': managedidentity was expected"),
        ({"AzureWebJobsStorage": f"AccountName=a;{KEY}"}, "not a connection string"),
        ({"AzureWebJobsStorage": f"AccountKey={KEY}"}, "lacks AccountName"),
        ({"AzureWebJobsStorage": "AccountName=a;AccountKey=very secret"}, "AccountKey is not base64"),
        ({"AzureWebJobsStorage": f"SharedAccessSignature={SIGNATURE}"}, "lacks AccountName, or BlobEndpoint"),
        ({"AzureWebJobsStorage": f"AccountName=a;AccountKey={KEY};BlobEndpoint=https://b?{SIGNATURE}"},
         "BlobEndpoint in AzureWebJobsStorage is not a service's address"),
        ({"AzureWebJobsStorage__accountName": "a", "AzureWebJobsStorage__tableServiceUri": "table.example"},
         "AzureWebJobsStorage__tableServiceUri is not a service's address"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_named_and_no_secret_repeated(values: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as found:
        Connection.of(values)
    assert "secret" not in str(found.value)
    assert KEY not in str(found.value)


def test_a_prefix_that_no_container_could_have_is_refused() -> None:
    for prefix in ("A", "1a", "a-b", "-a", "a_b", "a" * 21):
        with pytest.raises(ConfigError, match="prefix"):
            AzureStorage(Connection.of({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}), prefix=prefix)


class Unplugged(RequestsTransport):
    """Fails as requests does: with the whole URL in the text."""

    def send(self, request: Any, **_: Any) -> Any:
        error = requests.ConnectionError(f"Max retries exceeded with url: {request.url}")
        error.request = requests.Request("GET", request.url)
        raise ServiceRequestError(error, error=error)


@pytest.mark.parametrize("secret", [f"AccountKey={KEY}", f"SharedAccessSignature={SIGNATURE}"])
def test_no_secret_is_in_a_repr_an_error_or_its_traceback(secret: str) -> None:
    values = {"AzureWebJobsStorage": f"AccountName=acc;{secret}"}
    storage = AzureStorage.connect(values, retries=0, transport=Unplugged())
    texts = [repr(storage), repr(storage.connection), str(storage.connection), repr(vars(storage))]
    for ask in (
        lambda: storage.tables.get("p", "k"),
        lambda: storage.tables.commit("p", [Op("insert", "k", b"1")]),
        lambda: storage.blobs.get("b"),
        lambda: storage.segments.append("snapshots/a.ndjson", b"x"),
        lambda: storage.queues.send("hints", b"x"),
    ):
        with pytest.raises(
            StorageUnavailable, match=r"no answer from acc\.\w+\.core.* \(ConnectionError\)"
        ) as found:
            ask()
        texts += traceback.format_exception(found.value)
    for part in (KEY, "very", "sig="):
        assert part not in "".join(texts).replace(__file__, "")


def test_an_identity_is_asked_for_only_when_it_is_needed_and_as_it_was_named() -> None:
    default = AzureStorage.connect({"AzureWebJobsStorage__accountName": "acc"})
    assert isinstance(default._credential, DefaultAzureCredential)
    managed = AzureStorage.connect(
        {"AzureWebJobsStorage__accountName": "acc", "AzureWebJobsStorage__credential": "managedidentity"}
    )
    assert isinstance(managed._credential, ManagedIdentityCredential)


def test_an_identity_that_is_not_there_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = AzureStorage.connect(
        {"AzureWebJobsStorage__accountName": "acc"}, retries=0, transport=Unplugged()
    )

    def refuse(*_: object, **__: object) -> None:
        raise CredentialUnavailableError("a long story")

    monkeypatch.setattr(storage._credential, "get_token", refuse)
    monkeypatch.setattr(storage._credential, "get_token_info", refuse)
    with pytest.raises(StorageUnavailable, match="no identity .*managed identity and __clientId"):
        storage.tables.get("p", "k")


def test_a_key_needs_no_identity_library_and_opening_asks_nothing() -> None:
    script = (
        "import sys; from observer_core.storage.azure import AzureStorage; "
        f"s = AzureStorage.connect({{'AzureWebJobsStorage': 'AccountName=a;AccountKey={KEY}'}}); "
        "s._credential; assert not s.operations.counts(); "
        "print([name for name in ('azure.identity', 'msal') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
