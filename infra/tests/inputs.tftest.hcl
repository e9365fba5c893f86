# Bad input is refused before anything is made.

mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000001"
  tenant_id       = "00000000-0000-0000-0000-000000000002"
  environment     = "dev"
  cost_center     = "qts"
  image_tag       = "0123abc-functions"
  address_space   = "10.40.0.0/22"
}

run "api_management_reaches_the_app_inside" {
  variables {
    gateway        = "api_management"
    api_management = { publisher_email = "ops@example.com" }
  }
  assert {
    condition     = output.url == "https://qts.azure-api.net"
    error_message = "callers must use API Management"
  }
}

run "settings_are_merged" {
  command = plan
  variables {
    observer_settings   = { OBSERVER_MAX_LAG = "60s", OBSERVER_BACKUP__EVERY = "30m" }
    easy_auth_client_id = "00000000-0000-0000-0000-000000000003"
  }
  assert {
    condition     = local.app_settings["OBSERVER_MAX_LAG"] == "60s" && local.app_settings["OBSERVER_BACKUP__EVERY"] == "30m" && !contains(keys(local.slot_settings), "OBSERVER_MAX_LAG")
    error_message = "observer_settings are production's, and win"
  }
  assert {
    condition     = !anytrue([for name in keys(local.slot_settings) : startswith(name, "BackupStorage") || startswith(name, "OBSERVER_BACKUP__") || startswith(name, "OBSERVER_LEDGER__")])
    error_message = "the slot must reach neither backups nor anchors"
  }
  assert {
    condition     = local.easy_auth == { client_id = "00000000-0000-0000-0000-000000000003", tenant_id = "00000000-0000-0000-0000-000000000002" }
    error_message = "people sign in with the directory of the subscription"
  }
}

run "refuses_a_registry_that_nobody_can_reach" {
  command = plan
  variables {
    registry_sku   = "Standard"
    internet_ports = []
  }
  expect_failures = [var.internet_ports]
}

run "refuses_names_and_ids" {
  command = plan
  variables {
    subscription_id     = "mine"
    tenant_id           = ""
    environment         = "production"
    project             = "QTS-Observer"
    location            = "Korea Central"
    cost_center         = " "
    image_tag           = "latest"
    easy_auth_client_id = "me"
  }
  expect_failures = [
    var.subscription_id, var.tenant_id, var.environment, var.project, var.location, var.cost_center, var.image_tag, var.easy_auth_client_id,
  ]
}

run "refuses_choices" {
  command = plan
  variables {
    address_space       = "10.40.0.0/28"
    plan_sku            = "Y1"
    storage_replication = { main = "MIRROR" }
    registry_sku        = "Basic"
    gateway             = "nginx"
    observer_settings   = { AzureWebJobsStorage = "AccountKey" }
    secret_settings     = { SLACK_WEBHOOK_URL = "https://hooks.example/T/B/secret" }
    alert_thresholds    = { patience = 1 }
  }
  expect_failures = [
    var.address_space, var.plan_sku, var.storage_replication, var.registry_sku, var.gateway, var.observer_settings, var.secret_settings, var.alert_thresholds,
  ]
}
