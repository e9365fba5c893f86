resource "azurerm_application_insights_workbook" "this" {
  name                = uuidv5("url", "https://qts-observer/${var.name_prefix}/workbook")
  location            = var.location
  resource_group_name = var.resource_group_name
  display_name        = "${var.name_prefix} Observer"
  category            = "workbook"
  source_id           = lower(azurerm_log_analytics_workspace.this.id)
  data_json = templatefile("${path.module}/workbook.json", {
    workspace = azurerm_log_analytics_workspace.this.id
    component = azurerm_application_insights.this["app"].id
    account   = var.storage_accounts["main"].name
  })
  tags = var.tags
}
