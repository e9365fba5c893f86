# Modules hand values to one another in both directions (the app tells who it is, and is told where to send): they
# depend on one another, their resources do not.

module "resource_group" {
  source = "./modules/resource_group"

  name_prefix = local.name_prefix
  location    = var.location
  tags        = local.tags
  lock        = var.delete_protection_enabled
}

module "network" {
  source = "./modules/network"

  name_prefix              = local.name_prefix
  location                 = var.location
  resource_group_name      = module.resource_group.name
  tags                     = local.tags
  address_space            = var.address_space
  internet_ports           = var.internet_ports
  private_endpoint_clients = var.private_endpoint_clients
}

# Production's journals, the slot's, and what must survive both.
module "storage" {
  source   = "./modules/storage"
  for_each = local.storage

  name_prefix         = local.name_prefix
  location            = var.location
  resource_group_name = module.resource_group.name
  tags                = local.tags
  purpose             = each.key
  account_name_suffix = local.name_suffix
  containers          = each.value.containers
  replication         = var.storage_replication[each.key]
  soft_delete_days    = var.soft_delete_days
  network             = local.network
}

module "registry" {
  source = "./modules/registry"

  name_prefix                   = local.name_prefix
  name_suffix                   = local.name_suffix
  location                      = var.location
  resource_group_name           = module.resource_group.name
  tags                          = local.tags
  sku                           = var.registry_sku
  zone_redundancy_enabled       = var.registry_sku == "Premium" && var.zone_balancing_enabled
  public_network_access_enabled = var.registry_sku != "Premium"
  network                       = var.registry_sku == "Premium" ? local.network : null
}

module "key_vault" {
  source = "./modules/key_vault"

  name_prefix              = local.name_prefix
  name_suffix              = local.name_suffix
  location                 = var.location
  resource_group_name      = module.resource_group.name
  tags                     = local.tags
  tenant_id                = var.tenant_id
  purge_protection_enabled = var.delete_protection_enabled
  network                  = local.network
}

# The relay of alerts is outside the network. What it reads lies alone in a vault that lets in its addresses only.
module "alerts_key_vault" {
  source = "./modules/key_vault"

  name_prefix                   = local.name_prefix
  purpose                       = "alerts"
  name_suffix                   = local.name_suffix
  location                      = var.location
  resource_group_name           = module.resource_group.name
  tags                          = local.tags
  tenant_id                     = var.tenant_id
  purge_protection_enabled      = var.delete_protection_enabled
  public_network_access_enabled = true
  allowed_ip_ranges             = [for address in module.monitoring.slack_relay_ip_addresses : strcontains(address, "/") ? address : "${address}/32"]
}

module "app_identity" {
  source = "./modules/identity"

  name_prefix         = local.name_prefix
  location            = var.location
  resource_group_name = module.resource_group.name
  tags                = local.tags
  purpose             = "app"
  storage_account_ids = { main = module.storage["main"].id }
  container_ids       = module.storage["backup"].container_ids
}

module "slot_identity" {
  source = "./modules/identity"

  name_prefix         = local.name_prefix
  location            = var.location
  resource_group_name = module.resource_group.name
  tags                = local.tags
  purpose             = "slot"
  storage_account_ids = { slot = module.storage["slot"].id }
}

# Pulls images and reads the vault for app and slot: a swap takes its name along, so both must have the same.
module "platform_identity" {
  source = "./modules/identity"

  name_prefix         = local.name_prefix
  location            = var.location
  resource_group_name = module.resource_group.name
  tags                = local.tags
  purpose             = "platform"
  key_vault_id        = module.key_vault.id
  registry_id         = module.registry.id
}

module "compute" {
  source = "./modules/compute"

  name_prefix            = local.name_prefix
  name_suffix            = local.name_suffix
  location               = var.location
  resource_group_name    = module.resource_group.name
  tags                   = local.tags
  plan_sku               = var.plan_sku
  instances              = var.instances
  zone_balancing_enabled = var.zone_balancing_enabled
  image = {
    registry = module.registry.login_server
    name     = "qts-observer"
    tag      = var.image_tag
  }
  app = {
    identity_id          = module.app_identity.id
    identity_client_id   = module.app_identity.client_id
    storage_account_name = module.storage["main"].name
    settings             = local.app_settings
    secrets              = var.secret_settings
  }
  slot = {
    identity_id          = module.slot_identity.id
    identity_client_id   = module.slot_identity.client_id
    storage_account_name = module.storage["slot"].name
    settings             = local.slot_settings
  }
  platform_identity = {
    id        = module.platform_identity.id
    client_id = module.platform_identity.client_id
  }
  app_subnet_id = module.network.app_subnet_id
  private_endpoint = {
    subnet_id           = module.network.private_endpoint_subnet_id
    private_dns_zone_id = module.network.private_dns_zone_ids["sites"]
  }
  key_vault_uri        = module.key_vault.uri
  application_insights = module.monitoring.application_insights_connection_strings
  gateway = {
    kind          = var.gateway
    front_door_id = module.gateway.front_door_id
  }
  allowed_ip_ranges = var.allowed_ip_ranges
  easy_auth         = local.easy_auth
}

module "gateway" {
  source = "./modules/gateway"

  name_prefix           = local.name_prefix
  name_suffix           = local.name_suffix
  location              = var.location
  resource_group_name   = module.resource_group.name
  tags                  = local.tags
  kind                  = var.gateway
  backend_host          = module.compute.default_hostname
  subnet_id             = module.network.gateway_subnet_id
  rate_limit_per_minute = var.rate_limit_per_minute
  front_door_sku        = var.front_door_sku
  api_management        = var.api_management
}

module "monitoring" {
  source = "./modules/monitoring"

  name_prefix         = local.name_prefix
  location            = var.location
  resource_group_name = module.resource_group.name
  tags                = local.tags
  retention_days      = var.retention_days
  daily_quota_gb      = var.daily_quota_gb
  publishers = {
    app  = module.app_identity.principal_id
    slot = module.slot_identity.principal_id
  }
  storage_accounts          = { for purpose, account in module.storage : purpose => { id = account.id, name = account.name } }
  diagnostics               = local.diagnostics
  key_vault                 = { id = module.alerts_key_vault.id, uri = module.alerts_key_vault.uri }
  enabled                   = var.alerts_enabled
  alert_emails              = var.alert_emails
  thresholds                = var.alert_thresholds
  runbook_url               = var.runbook_url
  availability_test_enabled = local.has_gateway
  availability_url          = module.gateway.url
}
