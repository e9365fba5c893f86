"""dev, staging and prod: their files, and every resource that comes of them, in all modules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest

from tests.infra.programs import INFRA, ROOT, in_ci

ENVIRONMENTS: Final = ("dev", "staging", "prod")
OFFLINE: Final = ROOT.parent / "shared" / "tools" / "terraform-offline" / "check.sh"
GIVEN: Final = {"subscription_id", "tenant_id", "image_tag"}
BACKEND: Final = {"container_name", "key", "use_azuread_auth", "use_oidc"}
Resource = dict[str, Any]

by_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def assigned(environment: str, suffix: str) -> dict[str, str]:
    text = (INFRA / "env" / f"{environment}.{suffix}").read_text()
    return dict(re.findall(r"^(\w+)\s*=\s*(.*?)(?:\s+#.*)?$", text, re.MULTILINE))


def variables() -> dict[str, str]:
    text = (INFRA / "variables.tf").read_text()
    return dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.DOTALL | re.MULTILINE))


@by_environment
def test_its_values_are_known_and_complete(environment: str) -> None:
    given = set(assigned(environment, "tfvars"))
    assert given <= set(variables())
    required = {
        name for name, body in variables().items() if not re.search(r"^  default\s+=", body, re.MULTILINE)
    }
    assert required == GIVEN | {"environment", "cost_center", "address_space"}
    assert required <= given | GIVEN
    assert not given & GIVEN


@by_environment
def test_no_file_says_whose_it_is(environment: str) -> None:
    for path in (INFRA / "env").iterdir():
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", path.read_text()), path.name


@by_environment
def test_its_state_is_entered_by_identity(environment: str) -> None:
    backend = assigned(environment, "azurerm.tfbackend")
    assert set(backend) == BACKEND
    assert backend["use_azuread_auth"] == backend["use_oidc"] == "true"
    assert backend["container_name"] == f'"{environment}"'
    assert 'backend "azurerm" {}' in (INFRA / "backend.tf").read_text()


@by_environment
def test_terraform_tests_it_with_all_its_values(environment: str) -> None:
    text = (INFRA / "tests" / f"{environment}.tftest.hcl").read_text()
    assert set(re.findall(r"= run\.environment\.values\.(\w+)", text)) == set(assigned(environment, "tfvars"))
    assert f'file("env/{environment}.tfvars")' in text


def test_every_variable_of_the_root_is_used() -> None:
    used = "".join((INFRA / name).read_text() for name in ("main.tf", "locals.tf", "providers.tf"))
    assert [name for name in variables() if f"var.{name}" not in used] == []


def test_networks_do_not_overlap() -> None:
    from ipaddress import ip_network
    from itertools import combinations

    ranges = [ip_network(assigned(name, "tfvars")["address_space"].strip('"')) for name in ENVIRONMENTS]
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))


def test_main_only_wires() -> None:
    text = (INFRA / "main.tf").read_text()
    assert set(re.findall(r'^(\w+) "', text, re.MULTILINE)) == {"module"}


# ---------------------------------------------------------------- every resource


@cache
def made(environment: str) -> list[Resource]:
    """All resources of an environment's own test, in every module."""
    if shutil.which("terraform") is None:
        missing = "terraform is not on PATH; install 1.9 or later"
        if in_ci():
            pytest.fail(missing)
        pytest.skip(missing)
    if not OFFLINE.exists():
        pytest.skip(
            "the offline provider is not there (../shared/tools); terraform test says the rest in GitHub"
        )
    cache_dir = os.environ.get("TFSTUB_CACHE") or os.path.expanduser("~/.cache/qts-terraform-offline")
    os.makedirs(cache_dir, exist_ok=True)
    done = subprocess.run(
        [str(OFFLINE), str(INFRA)], capture_output=True, text=True, check=False,
        env=os.environ | {
            "TFSTUB_CACHE": cache_dir,
            "TF_CLI_ARGS_test": f"-json -verbose -filter=tests/{environment}.tftest.hcl",
        },
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = [line["@message"] for line in lines if line["@level"] == "error"]
    assert done.returncode == 0, said or done.stderr
    [state] = [
        line["test_state"]
        for line in lines
        if line["type"] == "test_state" and line["@testrun"] == environment
    ]
    return list(_resources(state["root_module"]))


def _resources(module: dict[str, Any]) -> Iterator[Resource]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)


def of(environment: str, *kinds: str) -> dict[str, dict[str, Any]]:
    """Values of each resource of these kinds, by its address."""
    found = {item["address"]: item["values"] for item in made(environment) if item["type"] in kinds}
    assert found, kinds
    return found


@by_environment
def test_no_account_takes_a_key_or_the_public(environment: str) -> None:
    accounts = of(environment, "azurerm_storage_account")
    assert len(accounts) == 3
    for account in accounts.values():
        assert account["shared_access_key_enabled"] is False
        assert account["public_network_access_enabled"] is False
        assert account["allow_nested_items_to_be_public"] is False
        assert account["min_tls_version"] == "TLS1_2"
        assert account["network_rules"][0]["default_action"] == "Deny"
        assert account["blob_properties"][0]["versioning_enabled"] is True


@by_environment
def test_the_registry_has_no_admin_and_no_anonymous_guest(environment: str) -> None:
    [registry] = of(environment, "azurerm_container_registry").values()
    assert registry["admin_enabled"] is False
    assert not registry["anonymous_pull_enabled"]
    assert registry["public_network_access_enabled"] is (environment != "prod")
    assert registry["zone_redundancy_enabled"] is (environment == "prod")


@by_environment
def test_vaults_go_by_roles_and_deny(environment: str) -> None:
    vaults = of(environment, "azurerm_key_vault")
    for vault in vaults.values():
        assert vault["rbac_authorization_enabled"] is True
        assert vault["network_acls"][0]["default_action"] == "Deny"
        assert vault["purge_protection_enabled"] is (environment != "dev")
    assert vaults["module.key_vault.azurerm_key_vault.this"]["public_network_access_enabled"] is False
    assert vaults["module.alerts_key_vault.azurerm_key_vault.this"]["network_acls"][0]["ip_rules"] == [
        "198.51.100.16/29",
        "203.0.113.20/32",
    ]


@by_environment
def test_the_app_is_entered_through_its_gateway_only(environment: str) -> None:
    [app] = of(environment, "azurerm_linux_function_app").values()
    [slot] = of(environment, "azurerm_linux_function_app_slot").values()
    tags = [rule["service_tag"] for rule in app["site_config"][0]["ip_restriction"]]
    assert tags == ([] if environment == "dev" else ["AzureFrontDoor.Backend"])
    assert app["public_network_access_enabled"] is (environment != "dev")
    assert slot["public_network_access_enabled"] is False
    for site in (app, slot):
        assert site["https_only"] is True
        assert site["site_config"][0]["ip_restriction_default_action"] == "Deny"
        assert site["site_config"][0]["scm_ip_restriction_default_action"] == "Deny"


@by_environment
def test_a_swap_takes_no_setting_along(environment: str) -> None:
    [app] = of(environment, "azurerm_linux_function_app").values()
    [slot] = of(environment, "azurerm_linux_function_app_slot").values()
    stays = set(app["sticky_settings"][0]["app_setting_names"])
    assert {*app["app_settings"], *slot["app_settings"], "AzureWebJobsStorage__accountName"} <= stays
    assert app["storage_account_name"] != slot["storage_account_name"]
    ids = [site["app_settings"]["AzureWebJobsStorage__clientId"] for site in (app, slot)]
    assert len(set(ids)) == 2
    disabled = {name: value for name, value in slot["app_settings"].items() if name.endswith(".Disabled")}
    assert disabled == {"AzureWebJobs.collect.Disabled": "1", "AzureWebJobs.backup.Disabled": "1"}
    assert not [name for name in app["app_settings"] if name.endswith(".Disabled")]
    assert not [name for name in slot["app_settings"] if name.startswith("BackupStorage")]


@by_environment
def test_what_a_swap_could_take_along_is_the_same_in_both(environment: str) -> None:
    [app] = of(environment, "azurerm_linux_function_app").values()
    [slot] = of(environment, "azurerm_linux_function_app_slot").values()
    stays = {"elastic_instance_minimum", "ip_restriction", "application_insights_connection_string"}
    by_azure = {"linux_fx_version", "scm_type", "remote_debugging_version"}  # made up by the stand-in
    ours, theirs = app["site_config"][0], slot["site_config"][0]
    assert {name for name in ours if ours[name] != theirs.get(name)} <= stays | by_azure
    same = ("https_only", "key_vault_reference_identity_id", "auth_settings_v2", "virtual_network_subnet_id",
            "vnet_image_pull_enabled", "content_share_force_disabled")  # fmt: skip
    assert {name for name in same if app[name] != slot[name]} == set()


@by_environment
def test_who_may_what_and_nothing_else(environment: str) -> None:
    people = {
        item["principal_id"]: address.split(".")[1].removesuffix("_identity")
        for address, item in of(environment, "azurerm_user_assigned_identity").items()
    }
    assert sorted(people.values()) == ["app", "platform", "slot"]
    places = {item["values"].get("id"): item["address"] for item in made(environment)}
    roles = {
        (people.get(item["principal_id"], item["principal_id"]), item["role_definition_name"],
         _place(places.get(item["scope"], item["scope"])))
        for item in of(environment, "azurerm_role_assignment").values()
    }  # fmt: skip
    data = ("Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor")
    assert roles == {
        *(("app", role, 'storage["main"]') for role in data),
        *(("slot", role, 'storage["slot"]') for role in data),
        ("app", "Storage Blob Data Contributor", "a container of backup"),
        ("app", "Monitoring Metrics Publisher", 'insights["app"]'),
        ("slot", "Monitoring Metrics Publisher", 'insights["slot"]'),
        ("platform", "AcrPull", "registry"),
        ("platform", "Key Vault Secrets User", "key_vault"),
        ("relay", "Key Vault Secrets User", "alerts_key_vault"),
    }


def _place(address: str) -> str:
    if "azurerm_storage_container" in address:
        return "a container of backup"
    if "azurerm_application_insights" in address:
        return "insights" + address[address.index("[") :]
    return address.removeprefix("module.").partition(".azurerm_")[0]


@by_environment
def test_the_standard_tags_are_on_everything_that_takes_tags(environment: str) -> None:
    wanted = {
        "environment": environment,
        "project": "qts",
        "managed_by": "terraform",
        "cost_center": f"qts-{environment}",
    }
    bare = [
        item["address"]
        for item in made(environment)
        if "tags" in item["values"] and not wanted.items() <= (item["values"]["tags"] or {}).items()
    ]
    assert bare == []


@by_environment
def test_every_alert_is_there_and_on_but_for_dev(environment: str) -> None:
    alerts = of(environment, "azurerm_monitor_scheduled_query_rules_alert_v2", "azurerm_monitor_metric_alert")
    assert len(alerts) >= 13 + 3 + 1
    assert {alert["enabled"] for alert in alerts.values()} == {environment != "dev"}
    asked = [
        item for item in made(environment) if item["type"] == "azurerm_application_insights_standard_web_test"
    ]
    assert len(asked) == (environment != "dev")


@by_environment
def test_of_a_function_app_no_log_is_asked_that_only_a_web_app_has(environment: str) -> None:
    kept = {
        address.partition('["')[2].rstrip('"]'): {log["category"] for log in item["enabled_log"]}
        for address, item in of(environment, "azurerm_monitor_diagnostic_setting").items()
    }
    assert kept["app"] == kept["slot"] == {"FunctionAppLogs", "AppServiceAuthenticationLogs"}


@by_environment
def test_no_key_of_anything_is_made_or_read(environment: str) -> None:
    assert not [item["address"] for item in made(environment) if item["mode"] == "data"]
    kinds = {item["type"] for item in made(environment)}
    assert "azurerm_key_vault_secret" not in kinds
    for component in of(environment, "azurerm_application_insights").values():
        assert component["local_authentication_enabled"] is False


def test_prod_outlives_a_zone() -> None:
    [plan] = of("prod", "azurerm_service_plan").values()
    assert (plan["zone_balancing_enabled"], plan["worker_count"]) == (True, 3)
    [policy] = of("prod", "azurerm_cdn_frontdoor_firewall_policy").values()
    assert policy["mode"] == "Prevention"
    assert len(policy["managed_rule"]) == 2
    assert of("prod", "azurerm_management_lock")
