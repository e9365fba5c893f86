locals {
  quarters = cidrsubnets(var.address_space, 2, 2, 2)
  subnets = {
    app               = { range = local.quarters[0], delegated = true }
    private-endpoints = { range = local.quarters[1], delegated = false }
    gateway           = { range = local.quarters[2], delegated = true } # API Management v2 joins as apps do
  }
}

resource "azurerm_virtual_network" "this" {
  name                = "${var.name_prefix}-vnet"
  location            = var.location
  resource_group_name = var.resource_group_name
  address_space       = [var.address_space]
  tags                = var.tags
}

resource "azurerm_subnet" "this" {
  for_each = local.subnets

  name                              = each.key
  resource_group_name               = var.resource_group_name
  virtual_network_name              = azurerm_virtual_network.this.name
  address_prefixes                  = [each.value.range]
  private_endpoint_network_policies = "Enabled"            # else the rules of nsg.tf do not count for private endpoints
  default_outbound_access_enabled   = each.value.delegated # of no account where the service itself sends out

  dynamic "delegation" {
    for_each = each.value.delegated ? ["web"] : []
    content {
      name = delegation.value

      service_delegation {
        name    = "Microsoft.Web/serverFarms"
        actions = ["Microsoft.Network/virtualNetworks/subnets/action"]
      }
    }
  }
}
