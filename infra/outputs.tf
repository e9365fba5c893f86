output "resource_group_name" {
  description = "Resource group of the environment."
  value       = module.resource_group.name
}

output "registry_name" {
  description = "Name of the container registry."
  value       = module.registry.name
}

output "registry_login_server" {
  description = "Address that images are pushed to and pulled from."
  value       = module.registry.login_server
}

output "function_app_name" {
  description = "Name of the function app."
  value       = module.compute.function_app_name
}

output "slot_name" {
  description = "Name of the slot that a new image is tried in."
  value       = module.compute.slot_name
}

output "production_url" {
  description = "Address of production itself, past any gateway."
  value       = module.compute.production_url
}

output "slot_url" {
  description = "Address of the slot."
  value       = module.compute.slot_url
}

output "url" {
  description = "Address that callers use: the gateway's, or production's own without one."
  value       = local.has_gateway ? module.gateway.url : module.compute.production_url
}

output "storage_account_name" {
  description = "Account of production's journals, for observer --storage azure."
  value       = module.storage["main"].name
}

output "key_vault_name" {
  description = "Vault of the app's secrets (secret_settings)."
  value       = module.key_vault.name
}

output "alerts_key_vault_name" {
  description = "Vault of the address of Slack's webhook, which alerts are told to."
  value       = module.alerts_key_vault.name
}

output "log_analytics_workspace_id" {
  description = "Resource id of the workspace that logs and metrics go to."
  value       = module.monitoring.log_analytics_workspace_id
}

output "workbook_id" {
  description = "Resource id of the dashboard."
  value       = module.monitoring.workbook_id
}
