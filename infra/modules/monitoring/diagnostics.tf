# Of queues what puts and takes messages, for their age; of blobs what is removed. What is read, which is most of what
# there is, is not kept: the host asks each queue every second.
locals {
  diagnostics = merge(
    var.diagnostics,
    { for purpose, account in var.storage_accounts : "blobs-${purpose}" => {
      resource_id = "${account.id}/blobServices/default"
      categories  = ["StorageDelete"]
    } },
    { queues-main = {
      resource_id = "${var.storage_accounts["main"].id}/queueServices/default"
      categories  = ["StorageWrite", "StorageDelete"]
    } },
  )
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  for_each = local.diagnostics

  name                       = "to-${azurerm_log_analytics_workspace.this.name}"
  target_resource_id         = each.value.resource_id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  dynamic "enabled_log" {
    for_each = toset(each.value.categories)
    content {
      category = enabled_log.value
    }
  }
}
