resource "azurerm_log_analytics_workspace" "this" {
  name                         = "${var.name_prefix}-logs"
  location                     = var.location
  resource_group_name          = var.resource_group_name
  sku                          = "PerGB2018"
  retention_in_days            = var.retention_days
  daily_quota_gb               = var.daily_quota_gb
  local_authentication_enabled = false
  tags                         = var.tags
}

# The slot has its own, so that no alert about production ever speaks of the slot.
resource "azurerm_application_insights" "this" {
  for_each = { app = "", slot = "-slot" }

  name                = "${var.name_prefix}-insights${each.value}"
  location            = var.location
  resource_group_name = var.resource_group_name
  workspace_id        = azurerm_log_analytics_workspace.this.id
  application_type    = "other"

  # Host and Observer show who they are (APPLICATIONINSIGHTS_AUTHENTICATION_STRING): a connection string alone opens nothing.
  local_authentication_enabled = false
  tags                         = var.tags
}

resource "azurerm_role_assignment" "publisher" {
  for_each = azurerm_application_insights.this

  scope                = each.value.id
  role_definition_name = "Monitoring Metrics Publisher"
  principal_id         = var.publishers[each.key]
  principal_type       = "ServicePrincipal"
}
