provider "azurerm" {
  subscription_id = var.subscription_id
  tenant_id       = var.tenant_id

  storage_use_azuread = true # shared keys are off

  # What is not registered once by bootstrap.sh is not registered behind anybody's back.
  resource_provider_registrations = "none"

  features {
    key_vault {
      purge_soft_delete_on_destroy    = false
      recover_soft_deleted_key_vaults = true
    }
    resource_group {
      prevent_deletion_if_contains_resources = true
    }
  }
}
