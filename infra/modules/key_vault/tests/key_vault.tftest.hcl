mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix         = "qts-test"
  name_suffix         = "a1b2c3"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
  tenant_id           = "00000000-0000-0000-0000-000000000001"
  network = {
    private_endpoint_subnet_id = "/subnets/private-endpoints"
    private_dns_zone_ids       = { vault = "/zones/vault", blob = "/zones/blob" }
  }
}

run "roles_alone_and_nothing_from_outside" {
  assert {
    condition     = azurerm_key_vault.this.rbac_authorization_enabled && length(azurerm_key_vault.this.access_policy) == 0
    error_message = "access must be by roles, and by no policy"
  }
  assert {
    condition = !azurerm_key_vault.this.public_network_access_enabled && azurerm_key_vault.this.network_acls[0].default_action == "Deny" && (
    azurerm_key_vault.this.network_acls[0].bypass == "None" && length(azurerm_key_vault.this.network_acls[0].ip_rules) == 0)
    error_message = "nothing may come from outside"
  }
  assert {
    condition     = !azurerm_key_vault.this.enabled_for_deployment && !azurerm_key_vault.this.enabled_for_disk_encryption && !azurerm_key_vault.this.enabled_for_template_deployment
    error_message = "no machine or template may read secrets by itself"
  }
  assert {
    condition     = azurerm_key_vault.this.purge_protection_enabled && azurerm_key_vault.this.soft_delete_retention_days == 90
    error_message = "what was deleted must be there for 90 days, whoever wants it gone"
  }
  assert {
    condition     = output.name == "qtstestkva1b2c3" && azurerm_key_vault.this.tags == tomap(merge(var.tags, { purpose = "app" })) && azurerm_key_vault.this.sku_name == "standard" && output.uri == "https://qtstestkva1b2c3.vault.azure.net/"
    error_message = "the name is of prefix and suffix, without hyphens"
  }
  assert {
    condition = [for endpoint in azurerm_private_endpoint.this : [
      one(endpoint.private_service_connection[0].subresource_names), one(endpoint.private_dns_zone_group[0].private_dns_zone_ids), endpoint.subnet_id,
    ]] == [["vault", "/zones/vault", "/subnets/private-endpoints"]]
    error_message = "the vault must have its private endpoint"
  }
}

run "another_vault_for_alerts" {
  variables {
    purpose                       = "alerts"
    network                       = null
    public_network_access_enabled = true
    allowed_ip_ranges             = ["203.0.113.7/32"]
  }
  assert {
    condition     = output.name == "qtstestkaa1b2c3" && length(azurerm_private_endpoint.this) == 0
    error_message = "the vault of alerts must have another name"
  }
  assert {
    condition     = azurerm_key_vault.this.network_acls[0].default_action == "Deny" && azurerm_key_vault.this.network_acls[0].ip_rules == toset(["203.0.113.7/32"])
    error_message = "only named addresses may ask"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix       = "1qts"
    location          = "Korea Central"
    tenant_id         = "contoso.onmicrosoft.com"
    sku               = "Standard"
    purpose           = "mine"
    soft_delete_days  = 91
    allowed_ip_ranges = ["0.0.0.0/0"]
  }
  expect_failures = [var.name_prefix, var.location, var.tenant_id, var.sku, var.purpose, var.soft_delete_days, var.allowed_ip_ranges]
}

run "a_bad_suffix_is_refused" {
  command = plan
  variables {
    name_suffix = "a-b"
  }
  expect_failures = [var.name_suffix]
}

run "long_names_are_refused" {
  command = plan
  variables {
    name_prefix = "quantitative-staging"
  }
  expect_failures = [var.name_suffix]
}

run "nobody_could_get_in" {
  command = plan
  variables {
    network = null
  }
  expect_failures = [var.public_network_access_enabled]
}

run "addresses_without_public_access_are_refused" {
  command = plan
  variables {
    allowed_ip_ranges = ["203.0.113.7/32"]
  }
  expect_failures = [var.allowed_ip_ranges]
}

run "a_zone_that_is_missing_is_refused" {
  command = plan
  variables {
    network = { private_endpoint_subnet_id = "/subnets/private-endpoints", private_dns_zone_ids = { blob = "/zones/blob" } }
  }
  expect_failures = [var.network]
}
