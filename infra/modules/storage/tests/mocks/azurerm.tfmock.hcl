mock_resource "azurerm_storage_account" {
  defaults = {
    id                     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Storage/storageAccounts/qtsteststa1b2c3"
    primary_blob_endpoint  = "https://qtsteststa1b2c3.blob.core.windows.net/"
    primary_queue_endpoint = "https://qtsteststa1b2c3.queue.core.windows.net/"
    primary_table_endpoint = "https://qtsteststa1b2c3.table.core.windows.net/"
  }
}

mock_resource "azurerm_storage_container" {
  defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.Storage/storageAccounts/qtsteststa1b2c3/blobServices/default/containers/one" }
}
