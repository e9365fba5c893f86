resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name_prefix}-${var.purpose}-id"
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags
}
