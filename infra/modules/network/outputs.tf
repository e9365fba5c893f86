# A subnet is of use only with its rules, and a zone with its link: whoever builds on them waits for both.

output "vnet_id" {
  description = "Resource id of the network."
  value       = azurerm_virtual_network.this.id
}

output "app_subnet_id" {
  description = "Subnet, delegated to Microsoft.Web/serverFarms, through which the app sends out."
  value       = azurerm_subnet.this["app"].id
  depends_on  = [azurerm_subnet_network_security_group_association.this]
}

output "private_endpoint_subnet_id" {
  description = "Subnet of the private endpoints."
  value       = azurerm_subnet.this["private-endpoints"].id
  depends_on  = [azurerm_subnet_network_security_group_association.this]
}

output "gateway_subnet_id" {
  description = "Subnet, delegated to Microsoft.Web/serverFarms, through which API Management (Standard v2 or Premium v2) sends out."
  value       = azurerm_subnet.this["gateway"].id
  depends_on  = [azurerm_subnet_network_security_group_association.this]
}

output "private_dns_zone_ids" {
  description = "Private DNS zones by what has its names there: blob, queue, table, vault, registry, sites."
  value       = { for name, zone in azurerm_private_dns_zone.this : name => zone.id }
  depends_on  = [azurerm_private_dns_zone_virtual_network_link.this]
}
