# staging, as env/staging.tfvars says it. What every single resource is then, tests/infra/test_environments.py looks at.

mock_provider "azurerm" {
  source = "./tests/mocks"
}

run "environment" {
  module {
    source = "./tests/environment"
  }
  variables {
    text = file("env/staging.tfvars")
  }
}

run "staging" {
  variables {
    subscription_id           = "00000000-0000-0000-0000-000000000001"
    tenant_id                 = "00000000-0000-0000-0000-000000000002"
    image_tag                 = "0123abc-functions"
    environment               = run.environment.values.environment
    cost_center               = run.environment.values.cost_center
    address_space             = run.environment.values.address_space
    plan_sku                  = run.environment.values.plan_sku
    instances                 = run.environment.values.instances
    storage_replication       = run.environment.values.storage_replication
    soft_delete_days          = run.environment.values.soft_delete_days
    anchor_immutable_days     = run.environment.values.anchor_immutable_days
    delete_protection_enabled = run.environment.values.delete_protection_enabled
    registry_sku              = run.environment.values.registry_sku
    gateway                   = run.environment.values.gateway
    front_door_sku            = run.environment.values.front_door_sku
    retention_days            = run.environment.values.retention_days
    daily_quota_gb            = run.environment.values.daily_quota_gb
    alerts_enabled            = run.environment.values.alerts_enabled
  }

  assert {
    condition     = output.resource_group_name == "qts-staging-rg" && startswith(output.function_app_name, "qts-staging-observer-") && startswith(output.registry_name, "qtsstagingcr") && output.slot_name == "staging"
    error_message = "names must say whose they are"
  }
  assert {
    condition     = length(distinct([for account in module.storage : account.name])) == 3 && length(distinct([for identity in [module.app_identity, module.slot_identity, module.platform_identity] : identity.principal_id])) == 3
    error_message = "production, slot and backups must have accounts, and production, slot and platform identities, of their own"
  }
  assert {
    condition     = output.key_vault_name != output.alerts_key_vault_name
    error_message = "what alerts are told with must lie apart from the app's secrets"
  }
  assert {
    condition     = local.tags == { environment = "staging", project = "qts", managed_by = "terraform", cost_center = "qts-staging" }
    error_message = "the standard tags must be there"
  }
  assert {
    condition     = alltrue([for name in ["app", "slot", "key_vault", "alerts_key_vault", "registry"] : contains(keys(local.diagnostics), name)])
    error_message = "logs of app, slot, vaults and registry must be kept"
  }

  assert {
    condition     = output.url == "https://qts.azurefd.net" && module.gateway.front_door_id != null
    error_message = "staging must be behind Front Door"
  }
}
