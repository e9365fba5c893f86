output "id" {
  description = "Resource id of the registry."
  value       = azurerm_container_registry.this.id
}

output "name" {
  description = "Name of the registry."
  value       = azurerm_container_registry.this.name
}

output "login_server" {
  description = "Host name that images are pulled from."
  value       = azurerm_container_registry.this.login_server
  depends_on  = [azurerm_private_endpoint.this]
}
