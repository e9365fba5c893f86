# All that the identity may, each on one single resource (docs/functions.md says what for).

locals {
  # Owner, and not contributor, as the host of Functions asks of the account that it keeps its own leases in.
  of_account = ["Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor"]

  roles = merge(
    { for pair in setproduct(keys(var.storage_account_ids), local.of_account) :
      "${pair[0]}: ${pair[1]}" => { role = pair[1], scope = var.storage_account_ids[pair[0]] }
    },
    { for name, id in var.container_ids : "${name}: Storage Blob Data Contributor" => { role = "Storage Blob Data Contributor", scope = id } },
    var.purpose != "platform" ? {} : {
      "registry: AcrPull"             = { role = "AcrPull", scope = var.registry_id }
      "vault: Key Vault Secrets User" = { role = "Key Vault Secrets User", scope = var.key_vault_id }
    },
  )
}

resource "azurerm_role_assignment" "this" {
  for_each = local.roles

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal" # known at once, where the directory is not asked whether it is there yet
}
