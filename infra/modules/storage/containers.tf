resource "azurerm_storage_container" "this" {
  for_each = var.containers

  name                  = each.key
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# Appending stays possible, to append blobs alone: that is how anchors are written (docs/ledger.md).
resource "azurerm_storage_container_immutability_policy" "this" {
  for_each = { for name, container in var.containers : name => container if container.immutable_days != null }

  storage_container_resource_manager_id = azurerm_storage_container.this[each.key].id
  immutability_period_in_days           = each.value.immutable_days
  locked                                = each.value.locked
  protected_append_writes_enabled       = true
  protected_append_writes_all_enabled   = false
}
