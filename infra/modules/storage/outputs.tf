# Whoever is told the name wants to get in, and waits for the private endpoints.

output "id" {
  description = "Resource id of the account."
  value       = azurerm_storage_account.this.id
}

output "name" {
  description = "Name of the account."
  value       = azurerm_storage_account.this.name
  depends_on  = [azurerm_private_endpoint.this]
}

output "blob_endpoint" {
  description = "Address of its blobs."
  value       = azurerm_storage_account.this.primary_blob_endpoint
  depends_on  = [azurerm_private_endpoint.this]
}

output "queue_endpoint" {
  description = "Address of its queues."
  value       = azurerm_storage_account.this.primary_queue_endpoint
  depends_on  = [azurerm_private_endpoint.this]
}

output "table_endpoint" {
  description = "Address of its tables."
  value       = azurerm_storage_account.this.primary_table_endpoint
  depends_on  = [azurerm_private_endpoint.this]
}

output "container_ids" {
  description = "Resource ids of the containers that were made here, by name, to give roles on."
  value       = { for name, container in azurerm_storage_container.this : name => container.id }
  depends_on  = [azurerm_storage_container_immutability_policy.this]
}
