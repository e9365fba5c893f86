mock_resource "azurerm_virtual_network" {
  defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Network/virtualNetworks/qts-test-vnet" }
}

mock_resource "azurerm_subnet" {
  defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Network/virtualNetworks/qts-test-vnet/subnets/one" }
}

mock_resource "azurerm_network_security_group" {
  defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Network/networkSecurityGroups/one" }
}

mock_resource "azurerm_private_dns_zone" {
  defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Network/privateDnsZones/one" }
}
