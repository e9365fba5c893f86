mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix         = "qts-test"
  name_suffix         = "a1b2c3"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
  network = {
    private_endpoint_subnet_id = "/subnets/private-endpoints"
    private_dns_zone_ids       = { registry = "/zones/registry", blob = "/zones/blob" }
  }
}

run "nothing_is_open" {
  assert {
    condition     = !azurerm_container_registry.this.admin_enabled && !azurerm_container_registry.this.anonymous_pull_enabled && !azurerm_container_registry.this.public_network_access_enabled
    error_message = "no admin user, nobody without a name, nothing from outside"
  }
  assert {
    condition     = azurerm_container_registry.this.sku == "Premium" && azurerm_container_registry.this.retention_policy_in_days == 30 && azurerm_container_registry.this.data_endpoint_enabled
    error_message = "images without a tag must go after 30 days, and layers come from an address of our own"
  }
  assert {
    condition     = azurerm_container_registry.this.name == "qtstestcra1b2c3" && azurerm_container_registry.this.tags == var.tags && output.login_server == "qtstestcra1b2c3.azurecr.io"
    error_message = "the name is of prefix and suffix, without hyphens"
  }
  assert {
    condition = [for endpoint in azurerm_private_endpoint.this : [
      one(endpoint.private_service_connection[0].subresource_names), one(endpoint.private_dns_zone_group[0].private_dns_zone_ids), endpoint.subnet_id,
    ]] == [["registry", "/zones/registry", "/subnets/private-endpoints"]]
    error_message = "the registry must have its private endpoint"
  }
}

run "closed_all_the_way" {
  variables {
    export_enabled          = false
    zone_redundancy_enabled = true
  }
  assert {
    condition     = !azurerm_container_registry.this.export_policy_enabled && azurerm_container_registry.this.zone_redundancy_enabled
    error_message = "no image may leave, and all zones have them"
  }
}

run "from_outside_only_who_is_named" {
  variables {
    public_network_access_enabled = true
    allowed_ip_ranges             = ["203.0.113.7/32"]
  }
  assert {
    condition     = [for rules in azurerm_container_registry.this.network_rule_set : [rules.default_action, rules.ip_rule]] == [["Deny", toset([{ action = "Allow", ip_range = "203.0.113.7/32" }])]]
    error_message = "only named addresses may ask"
  }
}

run "basic" {
  variables {
    sku                           = "Basic"
    network                       = null
    public_network_access_enabled = true
  }
  assert {
    condition     = azurerm_container_registry.this.retention_policy_in_days == null && !azurerm_container_registry.this.data_endpoint_enabled && length(azurerm_private_endpoint.this) == 0
    error_message = "nothing that only Premium has may be asked of Basic"
  }
  assert {
    condition     = !azurerm_container_registry.this.admin_enabled && !azurerm_container_registry.this.anonymous_pull_enabled
    error_message = "a role is needed, whatever the sku"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix       = "1qts"
    name_suffix       = "a-b"
    location          = "Korea Central"
    untagged_days     = 0
    allowed_ip_ranges = ["everywhere"]
  }
  expect_failures = [var.name_prefix, var.name_suffix, var.location, var.untagged_days, var.allowed_ip_ranges]
}

run "an_unknown_sku_is_refused" {
  command = plan
  variables {
    sku                           = "premium"
    network                       = null
    public_network_access_enabled = true
  }
  expect_failures = [var.sku]
}

run "private_endpoints_without_premium_are_refused" {
  command = plan
  variables {
    sku = "Standard"
  }
  expect_failures = [var.sku]
}

run "nobody_could_get_in" {
  command = plan
  variables {
    network = null
  }
  expect_failures = [var.public_network_access_enabled]
}

run "export_of_an_open_registry_cannot_be_off" {
  command = plan
  variables {
    export_enabled                = false
    public_network_access_enabled = true
  }
  expect_failures = [var.export_enabled]
}

run "a_zone_that_is_missing_is_refused" {
  command = plan
  variables {
    network = { private_endpoint_subnet_id = "/subnets/private-endpoints", private_dns_zone_ids = {} }
  }
  expect_failures = [var.network]
}
