# Whoever starts something under this identity waits until it may what it needs.

output "id" {
  description = "Resource id of the identity."
  value       = azurerm_user_assigned_identity.this.id
  depends_on  = [azurerm_role_assignment.this]
}

output "client_id" {
  description = "Client id of the identity."
  value       = azurerm_user_assigned_identity.this.client_id
  depends_on  = [azurerm_role_assignment.this]
}

output "principal_id" {
  description = "Object id of the identity in the directory, which roles are given to."
  value       = azurerm_user_assigned_identity.this.principal_id
}
