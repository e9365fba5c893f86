mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix         = "qts-test"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
}

run "app_works_with_its_account_and_two_containers" {
  variables {
    purpose             = "app"
    storage_account_ids = { main = "/accounts/main" }
    container_ids = {
      anchors = "/accounts/backup/blobServices/default/containers/anchors"
      backups = "/accounts/backup/blobServices/default/containers/backups"
    }
  }
  assert {
    condition = toset([for assignment in azurerm_role_assignment.this : "${assignment.role_definition_name} ${assignment.scope}"]) == toset([
      "Storage Blob Data Owner /accounts/main",
      "Storage Queue Data Contributor /accounts/main",
      "Storage Table Data Contributor /accounts/main",
      "Storage Blob Data Contributor /accounts/backup/blobServices/default/containers/anchors",
      "Storage Blob Data Contributor /accounts/backup/blobServices/default/containers/backups",
    ])
    error_message = "production may work with its own account, and with anchors and backups elsewhere; nothing more"
  }
  assert {
    condition     = alltrue([for assignment in azurerm_role_assignment.this : assignment.principal_id == output.principal_id && assignment.principal_type == "ServicePrincipal"])
    error_message = "roles must be given to the identity itself"
  }
  assert {
    condition     = azurerm_user_assigned_identity.this.name == "qts-test-app-id" && azurerm_user_assigned_identity.this.tags == var.tags
    error_message = "named by its purpose"
  }
}

run "slot_has_its_account_and_nothing_else" {
  variables {
    purpose             = "slot"
    storage_account_ids = { slot = "/accounts/slot" }
  }
  assert {
    condition     = toset([for assignment in azurerm_role_assignment.this : assignment.scope]) == toset(["/accounts/slot"]) && length(azurerm_role_assignment.this) == 3
    error_message = "the slot may work with its own account alone"
  }
}

run "platform_pulls_and_reads_secrets" {
  variables {
    purpose      = "platform"
    key_vault_id = "/vaults/kv"
    registry_id  = "/registries/cr"
  }
  assert {
    condition     = { for assignment in azurerm_role_assignment.this : assignment.role_definition_name => assignment.scope } == { AcrPull = "/registries/cr", "Key Vault Secrets User" = "/vaults/kv" }
    error_message = "platform may pull images and read secrets, of one registry and one vault"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix = "qts_test"
    location    = "Korea Central"
    purpose     = "admin"
  }
  expect_failures = [var.name_prefix, var.location, var.purpose]
}

run "a_whole_account_is_no_container" {
  command = plan
  variables {
    purpose             = "app"
    storage_account_ids = { main = "/accounts/main" }
    container_ids       = { backups = "/accounts/backup" }
  }
  expect_failures = [var.container_ids]
}

run "platform_with_an_account_is_refused" {
  command = plan
  variables {
    purpose             = "platform"
    key_vault_id        = "/vaults/kv"
    registry_id         = "/registries/cr"
    storage_account_ids = { main = "/accounts/main" }
  }
  expect_failures = [var.storage_account_ids]
}

run "slot_with_productions_account_is_refused" {
  command = plan
  variables {
    purpose             = "slot"
    storage_account_ids = { main = "/accounts/main" }
  }
  expect_failures = [var.storage_account_ids]
}

run "app_with_two_accounts_is_refused" {
  command = plan
  variables {
    purpose             = "app"
    storage_account_ids = { main = "/accounts/main", slot = "/accounts/slot" }
  }
  expect_failures = [var.storage_account_ids]
}

run "slot_with_productions_backups_is_refused" {
  command = plan
  variables {
    purpose             = "slot"
    storage_account_ids = { slot = "/accounts/slot" }
    container_ids       = { backups = "/accounts/backup/blobServices/default/containers/backups" }
  }
  expect_failures = [var.container_ids]
}

run "platform_without_vault_and_registry_is_refused" {
  command = plan
  variables {
    purpose = "platform"
  }
  expect_failures = [var.key_vault_id, var.registry_id]
}
