mock_provider "azurerm" {
  mock_resource "azurerm_cdn_frontdoor_profile" {
    defaults = {
      id            = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Cdn/profiles/qts-test-fd"
      resource_guid = "11111111-2222-3333-4444-555555555555"
    }
  }
  mock_resource "azurerm_cdn_frontdoor_endpoint" {
    defaults = {
      id        = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Cdn/profiles/qts-test-fd/afdEndpoints/qts-test"
      host_name = "qts-test-a1b2c3.azurefd.net"
    }
  }
  mock_resource "azurerm_api_management" {
    defaults = {
      id          = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/qts-test-api"
      gateway_url = "https://qts-test-api-a1b2c3.azure-api.net"
    }
  }
}

variables {
  name_prefix         = "qts-test"
  name_suffix         = "a1b2c3"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  backend_host        = "qts-test-observer-a1b2c3.azurewebsites.net"
  subnet_id           = "/subnets/gateway"
  tags                = { environment = "dev" }
}

run "none_makes_nothing" {
  assert {
    condition     = output.url == null && output.front_door_id == null && output.resource_id == null
    error_message = "without a gateway there must be nothing"
  }
  assert {
    condition     = length(azurerm_cdn_frontdoor_profile.this) == 0 && length(azurerm_api_management.this) == 0
    error_message = "without a gateway nothing must be made"
  }
}

run "front_door" {
  variables {
    kind = "front_door"
  }
  assert {
    condition     = output.url == "https://qts-test-a1b2c3.azurefd.net" && output.front_door_id == "11111111-2222-3333-4444-555555555555"
    error_message = "the address and the id of Front Door must be told"
  }
  assert {
    condition     = azurerm_cdn_frontdoor_origin_group.this[0].health_probe[0].path == "/readyz" && azurerm_cdn_frontdoor_origin_group.this[0].health_probe[0].request_type == "GET"
    error_message = "health must be asked of /readyz, by GET"
  }
  assert {
    condition     = azurerm_cdn_frontdoor_origin.this[0].host_name == var.backend_host && azurerm_cdn_frontdoor_origin.this[0].certificate_name_check_enabled
    error_message = "the app must be the origin, and its certificate checked"
  }
  assert {
    condition     = azurerm_cdn_frontdoor_route.this[0].forwarding_protocol == "HttpsOnly" && azurerm_cdn_frontdoor_route.this[0].https_redirect_enabled && length(azurerm_cdn_frontdoor_route.this[0].cache) == 0
    error_message = "only https, and no cache, which would hold streams up"
  }
  assert {
    condition     = azurerm_cdn_frontdoor_firewall_policy.this[0].mode == "Prevention" && azurerm_cdn_frontdoor_firewall_policy.this[0].custom_rule[0].rate_limit_threshold == 600
    error_message = "the firewall must block, from 600 requests a minute on"
  }
  assert {
    condition     = toset(azurerm_cdn_frontdoor_firewall_policy.this[0].managed_rule[*].type) == toset(["Microsoft_DefaultRuleSet", "Microsoft_BotManagerRuleSet"])
    error_message = "Premium must have Microsoft's rules"
  }
  assert {
    condition = flatten([for set in azurerm_cdn_frontdoor_firewall_policy.this[0].managed_rule : [for override in set.override : [for rule in override.rule : "${set.type} ${rule.rule_id} ${rule.action} ${rule.enabled}"]]]) == [
      "Microsoft_BotManagerRuleSet Bot300300 Log true", "Microsoft_BotManagerRuleSet Bot300500 Log true",
    ]
    error_message = "programs that ask the API, and who asks for its health, must not be blocked as bots"
  }
  assert {
    condition     = azurerm_cdn_frontdoor_security_policy.this[0].security_policies[0].firewall[0].association[0].patterns_to_match[0] == "/*"
    error_message = "the firewall must stand before everything"
  }
}

run "front_door_standard_has_no_managed_rules" {
  variables {
    kind           = "front_door"
    front_door_sku = "Standard_AzureFrontDoor"
  }
  assert {
    condition     = length(azurerm_cdn_frontdoor_firewall_policy.this[0].managed_rule) == 0 && length(azurerm_cdn_frontdoor_firewall_policy.this[0].custom_rule) == 1
    error_message = "Standard takes no managed rules, and keeps the limit"
  }
}

run "api_management" {
  variables {
    kind           = "api_management"
    api_management = { publisher_email = "ops@example.com" }
  }
  assert {
    condition     = output.url == "https://qts-test-api-a1b2c3.azure-api.net" && azurerm_api_management.this[0].virtual_network_configuration[0].subnet_id == "/subnets/gateway"
    error_message = "the address must be told, and the app be reached inside the network"
  }
  assert {
    condition     = length(azurerm_api_management_api_operation.this) == 7 && !azurerm_api_management_api.this[0].subscription_required
    error_message = "every method must pass, and the app alone asks for a key"
  }
  assert {
    condition     = strcontains(azurerm_api_management_api_policy.this[0].xml_content, "buffer-response=\"false\"") && strcontains(azurerm_api_management_api_policy.this[0].xml_content, "calls=\"600\"")
    error_message = "streams must pass, and calls be limited"
  }
  assert {
    condition     = !azurerm_api_management.this[0].security[0].frontend_tls11_enabled && !azurerm_api_management.this[0].security[0].backend_tls11_enabled
    error_message = "TLS 1.1 must be off"
  }
}

run "refuses_a_wrong_kind" {
  command = plan
  variables {
    kind = "nginx"
  }
  expect_failures = [var.kind]
}

run "refuses_api_management_without_a_publisher" {
  command = plan
  variables {
    kind = "api_management"
  }
  expect_failures = [var.api_management]
}

run "refuses_a_sku_outside_the_network" {
  command = plan
  variables {
    api_management = { sku = "BasicV2_1" }
  }
  expect_failures = [var.api_management]
}

run "refuses_other_front_doors_limits_and_names" {
  command = plan
  variables {
    front_door_sku        = "Premium"
    rate_limit_per_minute = 1
    name_prefix           = "QTS"
    name_suffix           = "-"
  }
  expect_failures = [var.front_door_sku, var.rate_limit_per_minute, var.name_prefix, var.name_suffix]
}
