# With these the public name of a service gives its private address inside the network.
locals {
  zones = {
    blob     = "privatelink.blob.core.windows.net"
    queue    = "privatelink.queue.core.windows.net"
    table    = "privatelink.table.core.windows.net"
    vault    = "privatelink.vaultcore.azure.net"
    registry = "privatelink.azurecr.io"
    sites    = "privatelink.azurewebsites.net"
  }
}

resource "azurerm_private_dns_zone" "this" {
  for_each = local.zones

  name                = each.value
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

# Whatever of Azure has a private endpoint in somebody else's network is looked up in these zones as well: what they do
# not hold is asked of the public one. Otherwise a source or sink there would have no address at all.
resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each = local.zones

  name                 = "${var.name_prefix}-vnet"
  private_dns_zone_id  = azurerm_private_dns_zone.this[each.key].id
  virtual_network_id   = azurerm_virtual_network.this.id
  registration_enabled = false
  resolution_policy    = "NxDomainRedirect"
  tags                 = var.tags
}
