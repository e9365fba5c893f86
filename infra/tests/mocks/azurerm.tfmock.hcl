# What the modules take apart, or compare: ids of the shape that Azure gives, addresses, host names.

mock_resource "azurerm_resource_group" {
  defaults = { id = "/subscriptions/s/resourceGroups/rg" }
}

mock_resource "azurerm_storage_container" {
  defaults = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/backup/blobServices/default/containers/c" }
}

mock_resource "azurerm_container_registry" {
  defaults = {
    id           = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/r"
    login_server = "qts.azurecr.io"
  }
}

mock_resource "azurerm_key_vault" {
  defaults = { vault_uri = "https://vault.vault.azure.net/" }
}

mock_resource "azurerm_cdn_frontdoor_profile" {
  defaults = {
    id            = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Cdn/profiles/fd"
    resource_guid = "11111111-2222-3333-4444-555555555555"
  }
}

mock_resource "azurerm_cdn_frontdoor_endpoint" {
  defaults = { host_name = "qts.azurefd.net" }
}

mock_resource "azurerm_api_management" {
  defaults = { gateway_url = "https://qts.azure-api.net" }
}

mock_resource "azurerm_linux_function_app" {
  defaults = { default_hostname = "qts-observer.azurewebsites.net" }
}

mock_resource "azurerm_linux_function_app_slot" {
  defaults = { default_hostname = "qts-observer-staging.azurewebsites.net" }
}

mock_resource "azurerm_logic_app_workflow" {
  defaults = {
    workflow_outbound_ip_addresses = ["203.0.113.20", "198.51.100.16/29"]
    identity                       = { principal_id = "relay" }
  }
}
