locals {
  premium = var.sku == "Premium"
}

# Quarantine stays off: nothing here lets an image out of it again, and images are scanned before they are pushed.
# Azure's own services may pass the firewall (with a role): az acr import needs it, which brings an image in from
# another environment's registry.
resource "azurerm_container_registry" "this" {
  name                = "${replace(var.name_prefix, "-", "")}cr${var.name_suffix}"
  location            = var.location
  resource_group_name = var.resource_group_name
  sku                 = var.sku
  tags                = var.tags

  admin_enabled                         = false
  anonymous_pull_enabled                = false
  quarantine_policy_enabled             = false
  public_network_access_enabled         = var.public_network_access_enabled
  network_rule_bypass_option            = "AzureServices"
  network_rule_bypass_for_tasks_enabled = false
  export_policy_enabled                 = var.export_enabled
  data_endpoint_enabled                 = local.premium
  zone_redundancy_enabled               = var.zone_redundancy_enabled
  retention_policy_in_days              = local.premium ? var.untagged_days : null

  network_rule_set = length(var.allowed_ip_ranges) == 0 ? [] : [{
    default_action = "Deny"
    ip_rule        = [for range in var.allowed_ip_ranges : { action = "Allow", ip_range = range }]
  }]
}
