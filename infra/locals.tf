locals {
  name_prefix = "${var.project}-${var.environment}"

  # Names that must be the only ones in all of Azure end with this; the same subscription always gives the same.
  name_suffix = substr(sha256("${var.subscription_id}/${local.name_prefix}"), 0, 6)

  tags = {
    environment = var.environment
    project     = var.project
    managed_by  = "terraform"
    cost_center = var.cost_center
  }

  storage = {
    main   = { containers = {} } # the Observer makes its own
    slot   = { containers = {} }
    backup = { containers = { backups = {}, anchors = { immutable_days = var.anchor_immutable_days, locked = var.anchors_locked } } }
  }

  settings = jsondecode(file("${path.module}/app_settings.json"))
  app_settings = merge(local.settings.common, local.settings.production, {
    BackupStorage__accountName = module.storage["backup"].name
    BackupStorage__credential  = "managedidentity"
    BackupStorage__clientId    = module.app_identity.client_id
  }, var.observer_settings)
  slot_settings = merge(local.settings.common, local.settings.slot)

  network = {
    private_endpoint_subnet_id = module.network.private_endpoint_subnet_id
    private_dns_zone_ids       = module.network.private_dns_zone_ids
  }

  easy_auth = var.easy_auth_client_id == null ? null : { client_id = var.easy_auth_client_id, tenant_id = var.tenant_id }

  # Of the categories of Microsoft.Web/sites those that a function app has: any other one is refused.
  function_app_logs = ["FunctionAppLogs", "AppServiceAuthenticationLogs"]

  # What monitoring keeps of others' logs; the gateway's, where there is one.
  diagnostics = merge(
    {
      app              = { resource_id = module.compute.function_app_id, categories = local.function_app_logs }
      slot             = { resource_id = module.compute.slot_id, categories = local.function_app_logs }
      key_vault        = { resource_id = module.key_vault.id, categories = ["AuditEvent"] }
      alerts_key_vault = { resource_id = module.alerts_key_vault.id, categories = ["AuditEvent"] }
      registry         = { resource_id = module.registry.id, categories = ["ContainerRegistryLoginEvents", "ContainerRegistryRepositoryEvents"] }
    },
    local.has_gateway ? {
      gateway = {
        resource_id = module.gateway.resource_id
        categories = {
          front_door     = ["FrontDoorAccessLog", "FrontDoorWebApplicationFirewallLog", "FrontDoorHealthProbeLog"]
          api_management = ["GatewayLogs"]
        }[var.gateway]
      }
    } : {},
  )

  has_gateway = var.gateway != "none"
}
