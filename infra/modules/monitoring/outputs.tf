output "log_analytics_workspace_id" {
  description = "Resource id of the workspace."
  value       = azurerm_log_analytics_workspace.this.id
}

output "application_insights_connection_strings" {
  description = "Connection strings of production's and of the slot's Application Insights."
  value       = { for name, component in azurerm_application_insights.this : name => component.connection_string }
  sensitive   = true
}

output "action_group_id" {
  description = "Resource id of the action group that tells Slack."
  value       = azurerm_monitor_action_group.this.id
}

output "slack_relay_ip_addresses" {
  description = "Addresses that the relay to Slack asks from; the vault with the webhook lets in nobody else."
  value       = azurerm_logic_app_workflow.slack.workflow_outbound_ip_addresses
}

output "workbook_id" {
  description = "Resource id of the dashboard."
  value       = azurerm_application_insights_workbook.this.id
}
