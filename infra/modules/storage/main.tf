locals {
  name = replace("${var.name_prefix}${ { main = "st", slot = "sl", backup = "bk" }[var.purpose]}${var.account_name_suffix}", "-", "") # 24 at most
}

resource "azurerm_storage_account" "this" {
  name                     = local.name
  location                 = var.location
  resource_group_name      = var.resource_group_name
  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.replication
  access_tier              = "Hot"
  tags                     = merge(var.tags, { purpose = var.purpose })

  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  sftp_enabled                      = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  allowed_copy_scope                = "AAD"
  https_traffic_only_enabled        = true
  min_tls_version                   = "TLS1_2"
  infrastructure_encryption_enabled = true
  public_network_access_enabled     = var.public_network_access_enabled

  network_rules {
    default_action = "Deny"
    bypass         = ["None"]
    ip_rules       = [for range in var.allowed_ip_ranges : trimsuffix(range, "/32")] # one address has to be without
  }

  # Journals are append blobs: what is appended makes no version, so only states, packed files and backups do.
  blob_properties {
    versioning_enabled            = true
    change_feed_enabled           = true
    change_feed_retention_in_days = var.aging.change_feed_days
    last_access_time_enabled      = false

    delete_retention_policy {
      days                     = var.soft_delete_days
      permanent_delete_enabled = false
    }

    container_delete_retention_policy {
      days = var.soft_delete_days
    }
  }
}
