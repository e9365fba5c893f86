resource "azurerm_linux_function_app" "this" {
  name                = local.app_name
  location            = var.location
  resource_group_name = var.resource_group_name
  service_plan_id     = azurerm_service_plan.this.id
  tags                = var.tags

  https_only                                     = true
  ftp_publish_basic_authentication_enabled       = false
  webdeploy_publish_basic_authentication_enabled = false
  client_certificate_enabled                     = false
  builtin_logging_enabled                        = false
  content_share_force_disabled                   = true
  public_network_access_enabled                  = var.gateway.kind == "front_door" || length(var.allowed_ip_ranges) > 0

  virtual_network_subnet_id = var.app_subnet_id
  vnet_image_pull_enabled   = true

  storage_account_name            = var.app.storage_account_name
  storage_uses_managed_identity   = true
  key_vault_reference_identity_id = var.platform_identity.id
  app_settings                    = merge({ for name, value in local.common : name => value if value != null }, local.app_settings)

  sticky_settings {
    app_setting_names = local.sticky
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [var.app.identity_id, var.platform_identity.id]
  }

  site_config {
    always_on                         = !local.elastic
    app_scale_limit                   = local.elastic ? var.instances.maximum : null
    elastic_instance_minimum          = local.elastic ? var.instances.always_ready : null
    runtime_scale_monitoring_enabled  = local.elastic # the scaler cannot look into private queues, the host can
    health_check_path                 = "/readyz"     # /health tells of sources, too
    health_check_eviction_time_in_min = 5
    http2_enabled                     = true
    minimum_tls_version               = "1.2"
    scm_minimum_tls_version           = "1.2"
    ftps_state                        = "Disabled"
    remote_debugging_enabled          = false
    use_32_bit_worker                 = false
    vnet_route_all_enabled            = true

    application_insights_connection_string        = var.application_insights.app
    container_registry_use_managed_identity       = true
    container_registry_managed_identity_client_id = var.platform_identity.client_id

    application_stack {
      docker {
        registry_url = "https://${var.image.registry}"
        image_name   = var.image.name
        image_tag    = var.image.tag
      }
    }

    ip_restriction_default_action     = "Deny"
    scm_ip_restriction_default_action = "Deny"
    scm_use_main_ip_restriction       = false

    dynamic "ip_restriction" {
      for_each = concat(local.from_gateway, local.from_outside)
      content {
        name        = ip_restriction.value.name
        action      = "Allow"
        priority    = 100 + ip_restriction.key
        ip_address  = ip_restriction.value.ip_address
        service_tag = ip_restriction.value.service_tag
        headers = ip_restriction.value.fdid == null ? [] : [{
          x_azure_fdid      = ip_restriction.value.fdid
          x_fd_health_probe = []
          x_forwarded_for   = []
          x_forwarded_host  = []
        }]
      }
    }
  }

  # Nobody is turned away here: functions ask for their key, and the Observer for a role (docs/access.md).
  dynamic "auth_settings_v2" {
    for_each = var.easy_auth[*]
    content {
      auth_enabled           = true
      require_authentication = false
      require_https          = true
      unauthenticated_action = "AllowAnonymous"
      default_provider       = "azureactivedirectory"
      excluded_paths         = ["/health", "/readyz"]

      active_directory_v2 {
        client_id            = auth_settings_v2.value.client_id
        tenant_auth_endpoint = "https://login.microsoftonline.com/${auth_settings_v2.value.tenant_id}/v2.0"
        allowed_audiences    = ["api://${auth_settings_v2.value.client_id}", auth_settings_v2.value.client_id]
      }

      login {
        token_store_enabled = false
      }
    }
  }

  lifecycle {
    # The deployment sets the image (scripts/ci/deploy_slot.sh), a swap exchanges it; az leaves two notes about it.
    ignore_changes = [
      site_config[0].application_stack,
      app_settings["DOCKER_CUSTOM_IMAGE_NAME"],
      app_settings["FUNCTION_APP_EDIT_MODE"],
    ]
  }
}
