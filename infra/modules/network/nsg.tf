# What is not allowed here is denied, both ways: Azure's own last rules would let the whole network in and everything
# out. Names are asked of Azure's resolver, which these rules do not hold back.

locals {
  app_range       = local.subnets["app"].range
  endpoints_range = local.subnets["private-endpoints"].range
  gateway_range   = local.subnets["gateway"].range

  # https://learn.microsoft.com/azure/virtual-network/service-tags-overview; the Internet has Azure's public addresses in it.
  app_outside = length(var.internet_ports) > 0 ? {
    internet = { ports = var.internet_ports, tag = "Internet" }
    } : {
    sign-in    = { ports = ["443"], tag = "AzureActiveDirectory" }
    monitoring = { ports = ["443"], tag = "AzureMonitor" }
  }

  allowed = merge(
    { for tag in ["app", "gateway"] : "${tag}/out-endpoints" => {
      priority = 100, direction = "Outbound", ports = ["443"], from = [local.subnets[tag].range], to = [local.endpoints_range], tag = null
    } },
    { for index, name in sort(keys(local.app_outside)) : "app/out-${name}" => {
      priority = 200 + index, direction = "Outbound", ports = local.app_outside[name].ports, from = [local.app_range], to = null, tag = local.app_outside[name].tag
    } },
    # What API Management itself cannot be without.
    { for index, tag in ["AzureKeyVault", "AzureMonitor", "Storage"] : "gateway/out-${lower(tag)}" => {
      priority = 200 + index, direction = "Outbound", ports = ["443"], from = [local.gateway_range], to = null, tag = tag
    } },
    { "private-endpoints/in-clients" = {
      priority = 100, direction = "Inbound", ports = ["443"], from = concat([local.app_range, local.gateway_range], var.private_endpoint_clients), to = [local.endpoints_range], tag = null
    } },
  )
  denied = { for pair in setproduct(keys(local.subnets), ["Inbound", "Outbound"]) :
    "${pair[0]}/${pair[1] == "Inbound" ? "in" : "out"}-nothing-else" => pair[1]
  }
}

resource "azurerm_network_security_group" "this" {
  for_each = local.subnets

  name                = "${var.name_prefix}-${each.key}-nsg"
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

resource "azurerm_network_security_rule" "allowed" {
  for_each = local.allowed

  name                         = split("/", each.key)[1]
  resource_group_name          = var.resource_group_name
  network_security_group_name  = azurerm_network_security_group.this[split("/", each.key)[0]].name
  priority                     = each.value.priority
  direction                    = each.value.direction
  access                       = "Allow"
  protocol                     = "Tcp"
  source_port_range            = "*"
  source_address_prefixes      = each.value.from
  destination_port_ranges      = each.value.ports
  destination_address_prefix   = each.value.tag
  destination_address_prefixes = each.value.to
}

resource "azurerm_network_security_rule" "denied" {
  for_each = local.denied

  name                        = split("/", each.key)[1]
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.this[split("/", each.key)[0]].name
  priority                    = 4096
  direction                   = each.value
  access                      = "Deny"
  protocol                    = "*"
  source_port_range           = "*"
  source_address_prefix       = "*"
  destination_port_range      = "*"
  destination_address_prefix  = "*"
}

resource "azurerm_subnet_network_security_group_association" "this" {
  for_each = local.subnets

  subnet_id                 = azurerm_subnet.this[each.key].id
  network_security_group_id = azurerm_network_security_group.this[each.key].id

  depends_on = [azurerm_network_security_rule.allowed, azurerm_network_security_rule.denied]
}
