output "id" {
  description = "Resource id of the vault."
  value       = azurerm_key_vault.this.id
}

output "name" {
  description = "Name of the vault."
  value       = azurerm_key_vault.this.name
}

output "uri" {
  description = "Address of the vault, with a slash at its end."
  value       = azurerm_key_vault.this.vault_uri
  depends_on  = [azurerm_private_endpoint.this]
}
