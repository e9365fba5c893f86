resource "azurerm_resource_group" "this" {
  name     = "${var.name_prefix}-rg"
  location = var.location
  tags     = var.tags
}

resource "azurerm_management_lock" "this" {
  count = var.lock ? 1 : 0

  name       = "keep"
  scope      = azurerm_resource_group.this.id
  lock_level = "CanNotDelete"
  notes      = "Holds the only copy of what was recorded. Set lock = false and apply before anything here is to go."
}
