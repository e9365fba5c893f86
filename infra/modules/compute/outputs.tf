output "function_app_name" {
  description = "Name of the function app."
  value       = azurerm_linux_function_app.this.name
}

output "function_app_id" {
  description = "Resource id of the function app."
  value       = azurerm_linux_function_app.this.id
}

output "slot_id" {
  description = "Resource id of the slot."
  value       = azurerm_linux_function_app_slot.this.id
}

output "slot_name" {
  description = "Name of the slot."
  value       = azurerm_linux_function_app_slot.this.name
}

output "default_hostname" {
  description = "Host name of production, which a gateway sends requests to."
  value       = azurerm_linux_function_app.this.default_hostname
}

output "production_url" {
  description = "Address of production itself, past any gateway."
  value       = "https://${azurerm_linux_function_app.this.default_hostname}"
}

output "slot_url" {
  description = "Address of the slot."
  value       = "https://${azurerm_linux_function_app_slot.this.default_hostname}"
}

output "plan_id" {
  description = "Resource id of the plan."
  value       = azurerm_service_plan.this.id
}
