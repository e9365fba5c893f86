mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix         = "qts-test"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
  address_space       = "10.40.0.0/22"
}

run "subnets" {
  assert {
    condition = { for name, subnet in azurerm_subnet.this : name => one(subnet.address_prefixes) } == {
      app = "10.40.0.0/24", private-endpoints = "10.40.1.0/24", gateway = "10.40.2.0/24"
    }
    error_message = "each subnet must have its quarter of the network"
  }
  assert {
    condition = { for name, subnet in azurerm_subnet.this : name => [for d in subnet.delegation : one(d.service_delegation[*].name)] } == {
      app = ["Microsoft.Web/serverFarms"], private-endpoints = [], gateway = ["Microsoft.Web/serverFarms"]
    }
    error_message = "app and gateway must be delegated to Microsoft.Web/serverFarms, private endpoints to nobody"
  }
  assert {
    condition     = alltrue([for subnet in azurerm_subnet.this : subnet.private_endpoint_network_policies == "Enabled"])
    error_message = "security rules must count for private endpoints"
  }
  assert {
    condition     = !azurerm_subnet.this["private-endpoints"].default_outbound_access_enabled
    error_message = "private endpoints have no way out"
  }
  assert {
    condition     = azurerm_virtual_network.this.tags == var.tags && alltrue([for nsg in azurerm_network_security_group.this : nsg.tags == var.tags])
    error_message = "everything must have the tags"
  }
}

run "what_is_not_allowed_is_denied" {
  assert {
    condition     = keys(azurerm_subnet_network_security_group_association.this) == keys(azurerm_subnet.this)
    error_message = "every subnet must have its rules"
  }
  assert {
    condition = alltrue([for rule in azurerm_network_security_rule.denied :
      rule.access == "Deny" && rule.priority == 4096 && rule.protocol == "*" && rule.source_address_prefix == "*" &&
    rule.destination_address_prefix == "*" && rule.destination_port_range == "*"])
    error_message = "the last rule must deny everything"
  }
  assert {
    condition = toset([for name, rule in azurerm_network_security_rule.denied : "${split("/", name)[0]} ${rule.direction}"]) == toset([
      "app Inbound", "app Outbound", "gateway Inbound", "gateway Outbound", "private-endpoints Inbound", "private-endpoints Outbound",
    ])
    error_message = "each subnet must end with a denial in each direction"
  }
  assert {
    condition     = alltrue([for rule in azurerm_network_security_rule.allowed : rule.protocol == "Tcp" && toset(rule.destination_port_ranges) == toset(["443"]) && length(rule.source_address_prefixes) > 0])
    error_message = "nothing but TCP 443 may be allowed, and from named addresses only"
  }
  assert {
    condition     = [for name, rule in azurerm_network_security_rule.allowed : name if rule.direction == "Inbound"] == ["private-endpoints/in-clients"]
    error_message = "only private endpoints may be entered"
  }
  assert {
    condition     = toset(azurerm_network_security_rule.allowed["private-endpoints/in-clients"].source_address_prefixes) == toset(["10.40.0.0/24", "10.40.2.0/24"])
    error_message = "only app and gateway may ask private endpoints"
  }
  assert {
    condition     = [for name, rule in azurerm_network_security_rule.allowed : name if rule.destination_address_prefix == "Internet"] == ["app/out-internet"]
    error_message = "only the app may reach the Internet"
  }
  assert {
    condition     = length(distinct([for name, rule in azurerm_network_security_rule.allowed : "${split("/", name)[0]} ${rule.direction} ${rule.priority}"])) == length(azurerm_network_security_rule.allowed)
    error_message = "no two rules of a group may have one priority"
  }
}

run "no_internet" {
  variables {
    internet_ports           = []
    private_endpoint_clients = ["10.50.0.0/24"]
  }
  assert {
    condition = toset([for name, rule in azurerm_network_security_rule.allowed : coalesce(rule.destination_address_prefix, "endpoints") if startswith(name, "app/")]) == toset([
      "endpoints", "AzureActiveDirectory", "AzureMonitor",
    ])
    error_message = "without internet_ports only private endpoints, sign-in and monitoring may be reached"
  }
  assert {
    condition     = contains(azurerm_network_security_rule.allowed["private-endpoints/in-clients"].source_address_prefixes, "10.50.0.0/24")
    error_message = "private_endpoint_clients must be let in"
  }
}

run "names_lead_inside" {
  assert {
    condition = { for name, zone in azurerm_private_dns_zone.this : name => zone.name } == {
      blob     = "privatelink.blob.core.windows.net"
      queue    = "privatelink.queue.core.windows.net"
      table    = "privatelink.table.core.windows.net"
      vault    = "privatelink.vaultcore.azure.net"
      registry = "privatelink.azurecr.io"
      sites    = "privatelink.azurewebsites.net"
    }
    error_message = "the zones must have the names that Azure's public names lead to"
  }
  assert {
    condition = keys(azurerm_private_dns_zone_virtual_network_link.this) == keys(output.private_dns_zone_ids) && alltrue([
      for link in azurerm_private_dns_zone_virtual_network_link.this : !link.registration_enabled && link.resolution_policy == "NxDomainRedirect" && link.virtual_network_id == output.vnet_id
    ])
    error_message = "each zone must be linked with the network, and take no names of machines"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix              = "q"
    location                 = "Korea Central"
    address_space            = "10.40.0.0/26"
    internet_ports           = ["*"]
    private_endpoint_clients = ["0.0.0.0/0"]
  }
  expect_failures = [var.name_prefix, var.location, var.address_space, var.internet_ports, var.private_endpoint_clients]
}

run "public_addresses_are_refused" {
  command = plan
  variables {
    address_space  = "52.40.0.0/22"
    internet_ports = ["70000"]
  }
  expect_failures = [var.address_space, var.internet_ports]
}
