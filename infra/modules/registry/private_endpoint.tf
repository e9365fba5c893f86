resource "azurerm_private_endpoint" "this" {
  count = var.network == null ? 0 : 1

  name                = "${azurerm_container_registry.this.name}-pe"
  location            = var.location
  resource_group_name = var.resource_group_name
  subnet_id           = var.network.private_endpoint_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "registry"
    private_connection_resource_id = azurerm_container_registry.this.id
    subresource_names              = ["registry"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "registry"
    private_dns_zone_ids = [var.network.private_dns_zone_ids["registry"]]
  }
}
