# Nothing here removes or moves what is there now: how long records are kept is the Observer's own matter
# (docs/retention.md), which writes down what it removes. Only what was overwritten or deleted goes, and before it is
# gone for good it can be brought back for soft_delete_days.
resource "azurerm_storage_management_policy" "this" {
  storage_account_id = azurerm_storage_account.this.id

  rule {
    name    = "previous-versions"
    enabled = true

    filters {
      blob_types = ["appendBlob", "blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = var.aging.previous_versions_days
      }
      snapshot {
        delete_after_days_since_creation_greater_than = var.aging.previous_versions_days
      }
    }
  }

  # What backups are made of is written once. What is read at every one of them (manifests, lists) stays hot.
  dynamic "rule" {
    for_each = var.aging.cool_backups_days[*]
    content {
      name    = "cool-backups"
      enabled = true

      filters {
        blob_types   = ["blockBlob"]
        prefix_match = ["backups/objects/"]
      }

      actions {
        base_blob {
          tier_to_cool_after_days_since_modification_greater_than = rule.value
        }
      }
    }
  }
}
