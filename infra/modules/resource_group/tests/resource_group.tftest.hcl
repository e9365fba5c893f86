mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix = "qts-test"
  location    = "koreacentral"
  tags        = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
}

run "named_tagged_and_locked" {
  assert {
    condition     = output.name == "qts-test-rg" && azurerm_resource_group.this.tags == var.tags
    error_message = "the group must be qts-test-rg with all tags"
  }
  assert {
    condition     = one(azurerm_management_lock.this[*].lock_level) == "CanNotDelete" && one(azurerm_management_lock.this[*].scope) == output.id
    error_message = "the group must be locked unless asked not to be"
  }
}

run "unlocked_when_asked" {
  variables {
    lock = false
  }
  assert {
    condition     = length(azurerm_management_lock.this) == 0
    error_message = "lock = false must leave no lock"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix = "Qts_Prod"
    location    = "Korea Central"
  }
  expect_failures = [var.name_prefix, var.location]
}
