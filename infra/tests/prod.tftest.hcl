# prod, as env/prod.tfvars says it. What every single resource is then, tests/infra/test_environments.py looks at.

mock_provider "azurerm" {
  source = "./tests/mocks"
}

run "environment" {
  module {
    source = "./tests/environment"
  }
  variables {
    text = file("env/prod.tfvars")
  }
}

run "prod" {
  variables {
    subscription_id           = "00000000-0000-0000-0000-000000000001"
    tenant_id                 = "00000000-0000-0000-0000-000000000002"
    image_tag                 = "0123abc-functions"
    environment               = run.environment.values.environment
    cost_center               = run.environment.values.cost_center
    address_space             = run.environment.values.address_space
    plan_sku                  = run.environment.values.plan_sku
    instances                 = run.environment.values.instances
    zone_balancing_enabled    = run.environment.values.zone_balancing_enabled
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
    condition     = output.resource_group_name == "qts-prod-rg" && startswith(output.function_app_name, "qts-prod-observer-") && startswith(output.registry_name, "qtsprodcr") && output.slot_name == "staging"
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
    condition     = local.tags == { environment = "prod", project = "qts", managed_by = "terraform", cost_center = "qts-prod" }
    error_message = "the standard tags must be there"
  }
  assert {
    condition     = alltrue([for name in ["app", "slot", "key_vault", "alerts_key_vault", "registry"] : contains(keys(local.diagnostics), name)])
    error_message = "logs of app, slot, vaults and registry must be kept"
  }

  assert {
    condition     = output.url == "https://qts.azurefd.net" && module.gateway.front_door_id != null
    error_message = "prod must be behind Front Door"
  }
  assert {
    condition     = var.zone_balancing_enabled && var.instances.always_ready >= 3 && var.delete_protection_enabled && var.alerts_enabled && var.registry_sku == "Premium"
    error_message = "prod must stand in three zones, be protected, watched, and its registry closed"
  }
  assert {
    condition     = var.storage_replication.main != "LRS" && startswith(var.storage_replication.backup, "G") && var.anchor_immutable_days >= 365
    error_message = "what prod records must outlive a zone, its backups a region, its anchors a year"
  }
}
