mock_provider "azurerm" {
  mock_resource "azurerm_service_plan" {
    defaults = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Web/serverFarms/qts-test-plan" }
  }
  mock_resource "azurerm_linux_function_app" {
    defaults = {
      id               = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Web/sites/qts-test-observer-a1b2c3"
      default_hostname = "qts-test-observer-a1b2c3.azurewebsites.net"
    }
  }
  mock_resource "azurerm_linux_function_app_slot" {
    defaults = {
      id               = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Web/sites/qts-test-observer-a1b2c3/slots/staging"
      default_hostname = "qts-test-observer-a1b2c3-staging.azurewebsites.net"
    }
  }
}

variables {
  name_prefix         = "qts-test"
  name_suffix         = "a1b2c3"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev" }
  image               = { registry = "qtstest.azurecr.io", name = "qts-observer", tag = "0123abc-functions" }
  app = {
    identity_id          = "/identities/app"
    identity_client_id   = "client-app"
    storage_account_name = "qtsmain"
    settings             = { OBSERVER_QUEUE_PREFIX = "observer", ONLY_IN_PRODUCTION = "1" }
    secrets              = { SLACK_WEBHOOK_URL = "slack-webhook-url" }
  }
  slot = {
    identity_id          = "/identities/slot"
    identity_client_id   = "client-slot"
    storage_account_name = "qtsslot"
    settings             = { OBSERVER_QUEUE_PREFIX = "observer" }
  }
  platform_identity    = { id = "/identities/platform", client_id = "client-platform" }
  app_subnet_id        = "/subnets/app"
  private_endpoint     = { subnet_id = "/subnets/pe", private_dns_zone_id = "/zones/sites" }
  key_vault_uri        = "https://qts-test-kv.vault.azure.net/"
  application_insights = { app = "InstrumentationKey=a", slot = "InstrumentationKey=s" }
}

run "nothing_is_open_and_no_key_is_used" {
  assert {
    condition = alltrue([for site in [azurerm_linux_function_app.this, azurerm_linux_function_app_slot.this] :
      site.https_only && !site.public_network_access_enabled && !site.ftp_publish_basic_authentication_enabled &&
      !site.webdeploy_publish_basic_authentication_enabled && site.site_config[0].ftps_state == "Disabled" &&
      site.site_config[0].ip_restriction_default_action == "Deny" && site.site_config[0].scm_ip_restriction_default_action == "Deny" &&
      site.site_config[0].minimum_tls_version == "1.2" && site.site_config[0].scm_minimum_tls_version == "1.2" &&
    !site.site_config[0].remote_debugging_enabled && length(site.site_config[0].ip_restriction) == 0])
    error_message = "app and slot: https only, no public access, no FTP, no publishing passwords, TLS 1.2 at least"
  }
  assert {
    condition = alltrue([for site in [azurerm_linux_function_app.this, azurerm_linux_function_app_slot.this] :
      site.storage_uses_managed_identity && site.storage_account_access_key == null && site.app_settings["AzureWebJobsStorage__credential"] == "managedidentity" &&
      site.site_config[0].container_registry_use_managed_identity && site.site_config[0].container_registry_managed_identity_client_id == "client-platform" &&
    !contains(keys(site.app_settings), "AzureWebJobsStorage")])
    error_message = "storage and registry must be entered by identity"
  }
  assert {
    condition = alltrue([for site in [azurerm_linux_function_app.this, azurerm_linux_function_app_slot.this] :
      site.virtual_network_subnet_id == "/subnets/app" && site.site_config[0].vnet_route_all_enabled && site.vnet_image_pull_enabled &&
    site.site_config[0].runtime_scale_monitoring_enabled])
    error_message = "everything must go out through the network, and triggers be watched there"
  }
  assert {
    condition = alltrue([for site in [azurerm_linux_function_app.this, azurerm_linux_function_app_slot.this] :
    site.site_config[0].health_check_path == "/readyz" && site.site_config[0].http2_enabled])
    error_message = "instances must be replaced by what they can do themselves, not by their sources"
  }
  assert {
    condition     = { for name, endpoint in azurerm_private_endpoint.this : name => endpoint.private_service_connection[0].subresource_names[0] } == { app = "sites", slot = "sites-staging" }
    error_message = "app and slot must be reachable from inside the network"
  }
}

run "slot_stands_alone" {
  assert {
    condition     = azurerm_linux_function_app.this.storage_account_name == "qtsmain" && azurerm_linux_function_app_slot.this.storage_account_name == "qtsslot"
    error_message = "app and slot must have their own accounts"
  }
  assert {
    condition     = azurerm_linux_function_app.this.app_settings["AzureWebJobsStorage__clientId"] == "client-app" && azurerm_linux_function_app_slot.this.app_settings["AzureWebJobsStorage__clientId"] == "client-slot"
    error_message = "app and slot must enter them as themselves"
  }
  assert {
    condition     = !contains(azurerm_linux_function_app.this.identity[0].identity_ids, "/identities/slot")
    error_message = "production must not be able to be the slot"
  }
  assert {
    condition = alltrue([for name in ["collect", "backup"] :
      azurerm_linux_function_app_slot.this.app_settings["AzureWebJobs.${name}.Disabled"] == "1" &&
      !contains(keys(azurerm_linux_function_app.this.app_settings), "AzureWebJobs.${name}.Disabled") &&
    contains(azurerm_linux_function_app.this.sticky_settings[0].app_setting_names, "AzureWebJobs.${name}.Disabled")])
    error_message = "collect and backup must be off in the slot, on in production, and stay so in a swap"
  }
  assert {
    condition     = azurerm_linux_function_app.this.app_settings["OBSERVER_CONFIG_DIR"] == "config/functions" && azurerm_linux_function_app_slot.this.app_settings["OBSERVER_CONFIG_DIR"] == "config/slot"
    error_message = "app and slot must have their own configuration"
  }
  assert {
    condition = length(setsubtract(
      setunion(keys(nonsensitive(azurerm_linux_function_app.this.app_settings)), keys(nonsensitive(azurerm_linux_function_app_slot.this.app_settings)), ["AzureWebJobsStorage__accountName", "APPLICATIONINSIGHTS_CONNECTION_STRING"]),
    azurerm_linux_function_app.this.sticky_settings[0].app_setting_names)) == 0
    error_message = "every setting must stay where it is in a swap"
  }
  assert {
    condition     = azurerm_linux_function_app.this.app_settings["SLACK_WEBHOOK_URL"] == "@Microsoft.KeyVault(SecretUri=https://qts-test-kv.vault.azure.net/secrets/slack-webhook-url)" && !contains(keys(azurerm_linux_function_app_slot.this.app_settings), "SLACK_WEBHOOK_URL")
    error_message = "secrets must be references, and only production's"
  }
  assert {
    condition     = azurerm_linux_function_app.this.key_vault_reference_identity_id == "/identities/platform" && azurerm_linux_function_app_slot.this.key_vault_reference_identity_id == "/identities/platform"
    error_message = "what a swap takes along must be the same in both"
  }
  assert {
    condition     = nonsensitive(azurerm_linux_function_app.this.site_config[0].application_insights_connection_string == "InstrumentationKey=a" && azurerm_linux_function_app_slot.this.site_config[0].application_insights_connection_string == "InstrumentationKey=s")
    error_message = "app and slot must tell their own Application Insights"
  }
}

run "elastic_plan_scales_itself" {
  variables {
    plan_sku               = "EP2"
    instances              = { always_ready = 3, maximum = 10 }
    zone_balancing_enabled = true
  }
  assert {
    condition     = azurerm_service_plan.this.maximum_elastic_worker_count == 10 && azurerm_service_plan.this.zone_balancing_enabled && azurerm_service_plan.this.os_type == "Linux"
    error_message = "the plan must be elastic, up to ten"
  }
  assert {
    condition     = azurerm_linux_function_app.this.site_config[0].elastic_instance_minimum == 3 && azurerm_linux_function_app.this.site_config[0].app_scale_limit == 10 && !azurerm_linux_function_app.this.site_config[0].always_on
    error_message = "three must always run, ten at most"
  }
  assert {
    condition     = length(azurerm_monitor_autoscale_setting.this) == 0
    error_message = "an elastic plan takes no rule"
  }
}

run "dedicated_plan_has_a_rule" {
  variables {
    plan_sku  = "P1v3"
    instances = { always_ready = 2, maximum = 6 }
  }
  assert {
    condition     = azurerm_monitor_autoscale_setting.this[0].profile[0].capacity[0].minimum == 2 && azurerm_monitor_autoscale_setting.this[0].profile[0].capacity[0].maximum == 6 && length(azurerm_monitor_autoscale_setting.this[0].profile[0].rule) == 2
    error_message = "a rule must scale it from two to six, and back"
  }
  assert {
    condition     = azurerm_linux_function_app.this.site_config[0].always_on
    error_message = "it must always be on"
  }
}

run "front_door_alone_may_enter" {
  variables {
    gateway = { kind = "front_door", front_door_id = "11111111-2222-3333-4444-555555555555" }
  }
  assert {
    condition     = azurerm_linux_function_app.this.public_network_access_enabled && length(azurerm_linux_function_app.this.site_config[0].ip_restriction) == 1 && azurerm_linux_function_app.this.site_config[0].ip_restriction[0].service_tag == "AzureFrontDoor.Backend" && azurerm_linux_function_app.this.site_config[0].ip_restriction[0].headers[0].x_azure_fdid == tolist(["11111111-2222-3333-4444-555555555555"])
    error_message = "this Front Door, known by its id, and nobody else"
  }
  assert {
    condition     = !azurerm_linux_function_app_slot.this.public_network_access_enabled && length(azurerm_linux_function_app_slot.this.site_config[0].ip_restriction) == 0
    error_message = "the slot is not behind the gateway"
  }
}

run "ranges_may_enter" {
  variables {
    gateway           = { kind = "api_management" }
    allowed_ip_ranges = ["198.51.100.0/24"]
  }
  assert {
    condition     = azurerm_linux_function_app.this.site_config[0].ip_restriction[*].ip_address == tolist(["198.51.100.0/24"]) && azurerm_linux_function_app_slot.this.site_config[0].ip_restriction[*].ip_address == tolist(["198.51.100.0/24"])
    error_message = "the ranges, and nobody else: API Management comes from inside"
  }
  assert {
    condition     = alltrue([for rule in azurerm_linux_function_app.this.site_config[0].ip_restriction : rule.action == "Allow"])
    error_message = "rules allow; the default denies"
  }
}

run "behind_api_management_nobody_enters_from_outside" {
  variables {
    gateway = { kind = "api_management" }
  }
  assert {
    condition     = !azurerm_linux_function_app.this.public_network_access_enabled && length(azurerm_linux_function_app.this.site_config[0].ip_restriction) == 0
    error_message = "API Management reaches the app inside the network"
  }
}

run "people_sign_in_and_nobody_is_turned_away_from_health" {
  variables {
    easy_auth = { client_id = "app-registration", tenant_id = "22222222-2222-2222-2222-222222222222" }
  }
  assert {
    condition = alltrue([for site in [azurerm_linux_function_app.this, azurerm_linux_function_app_slot.this] :
      site.auth_settings_v2[0].auth_enabled && site.auth_settings_v2[0].unauthenticated_action == "AllowAnonymous" &&
      site.auth_settings_v2[0].active_directory_v2[0].tenant_auth_endpoint == "https://login.microsoftonline.com/22222222-2222-2222-2222-222222222222/v2.0" &&
    site.app_settings["OBSERVER_WEB__EASY_AUTH"] == "true" && site.app_settings["OBSERVER_WEB__FUNCTION_KEY_SCOPES"] == "[\"read\",\"push\"]"])
    error_message = "Entra ID says who it is, the app what he may do"
  }
}

run "refuses_a_slot_on_productions_account" {
  command = plan
  variables {
    slot = { identity_id = "/identities/slot", identity_client_id = "client-slot", storage_account_name = "qtsmain" }
  }
  expect_failures = [var.slot]
}

run "refuses_a_connection_string" {
  command = plan
  variables {
    app = {
      identity_id = "/identities/app", identity_client_id = "client-app", storage_account_name = "qtsmain"
      settings    = { AzureWebJobsStorage = "AccountKey" }
    }
  }
  expect_failures = [var.app]
}

run "refuses_what_is_out_of_range" {
  command = plan
  variables {
    plan_sku          = "Y1"
    instances         = { always_ready = 0, maximum = 3 }
    allowed_ip_ranges = ["0.0.0.0/0"]
    image             = { registry = "r", name = "n", tag = "latest" }
    slot_name         = "production"
    gateway           = { kind = "nginx" }
    name_prefix       = "-"
    name_suffix       = "A"
  }
  expect_failures = [var.plan_sku, var.instances, var.allowed_ip_ranges, var.image, var.slot_name, var.gateway, var.name_prefix, var.name_suffix]
}

run "refuses_zones_for_one_instance" {
  command = plan
  variables {
    zone_balancing_enabled = true
  }
  expect_failures = [var.zone_balancing_enabled]
}
