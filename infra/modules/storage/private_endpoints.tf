resource "azurerm_private_endpoint" "this" {
  for_each = toset(var.network == null ? [] : ["blob", "queue", "table"])

  name                = "${azurerm_storage_account.this.name}-${each.key}-pe"
  location            = var.location
  resource_group_name = var.resource_group_name
  subnet_id           = var.network.private_endpoint_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = azurerm_storage_account.this.id
    subresource_names              = [each.key]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [var.network.private_dns_zone_ids[each.key]]
  }
}
