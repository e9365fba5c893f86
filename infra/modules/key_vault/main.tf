locals {
  name = replace("${var.name_prefix}${ { app = "kv", alerts = "ka" }[var.purpose]}${var.name_suffix}", "-", "")
}

# Who may read or write a secret is said by roles alone (module identity); access policies do not count.
resource "azurerm_key_vault" "this" {
  name                = local.name
  location            = var.location
  resource_group_name = var.resource_group_name
  tenant_id           = var.tenant_id
  sku_name            = var.sku
  tags                = merge(var.tags, { purpose = var.purpose })

  rbac_authorization_enabled      = true
  purge_protection_enabled        = var.purge_protection_enabled
  soft_delete_retention_days      = var.soft_delete_days
  enabled_for_deployment          = false
  enabled_for_disk_encryption     = false
  enabled_for_template_deployment = false
  public_network_access_enabled   = var.public_network_access_enabled

  network_acls {
    default_action = "Deny"
    bypass         = "None" # none of Azure's own services needs a secret of ours
    ip_rules       = var.allowed_ip_ranges
  }
}
