resource "azurerm_private_endpoint" "this" {
  for_each = {
    app  = "sites"
    slot = "sites-${azurerm_linux_function_app_slot.this.name}"
  }

  name                = "${local.app_name}-${each.key}-pe"
  location            = var.location
  resource_group_name = var.resource_group_name
  subnet_id           = var.private_endpoint.subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = azurerm_linux_function_app.this.id
    subresource_names              = [each.value]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "sites"
    private_dns_zone_ids = [var.private_endpoint.private_dns_zone_id]
  }
}
