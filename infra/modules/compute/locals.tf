locals {
  app_name = "${var.name_prefix}-observer-${var.name_suffix}"
  elastic  = startswith(var.plan_sku, "EP")

  # What reaches outward or changes the past stays off in the slot.
  disabled_in_slot = ["collect", "backup"]

  common = {
    WEBSITES_PORT                         = "8080" # the image does not run as root (Dockerfile)
    WEBSITES_ENABLE_APP_SERVICE_STORAGE   = "false"
    WEBSITES_CONTAINER_START_TIME_LIMIT   = "600"
    WEBSITE_SWAP_WARMUP_PING_PATH         = "/readyz" # a swap waits for it to answer so; Easy Auth sends it to HTTPS
    WEBSITE_SWAP_WARMUP_PING_STATUSES     = var.easy_auth == null ? "200" : "200,301,302,307"
    AzureWebJobsStorage__credential       = "managedidentity"
    APPLICATIONINSIGHTS_CONNECTION_STRING = null # set by site_config; here so that it is sticky
    AzureWebJobsStorage__accountName      = null # set by storage_account_name
  }
  sign_in = var.easy_auth == null ? {} : {
    OBSERVER_WEB__EASY_AUTH           = "true"
    OBSERVER_WEB__FUNCTION_KEY_SCOPES = jsonencode(["read", "push"])
  }
  app_own = {
    AzureWebJobsStorage__clientId             = var.app.identity_client_id
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "Authorization=AAD;ClientId=${var.app.identity_client_id}"
    OBSERVER_CONFIG_DIR                       = var.app.config_dir
  }
  slot_own = {
    AzureWebJobsStorage__clientId             = var.slot.identity_client_id
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "Authorization=AAD;ClientId=${var.slot.identity_client_id}"
    OBSERVER_CONFIG_DIR                       = var.slot.config_dir
  }
  secrets = {
    for setting, name in var.app.secrets : setting => "@Microsoft.KeyVault(SecretUri=${var.key_vault_uri}secrets/${name})"
  }
  disabled = { for name in local.disabled_in_slot : "AzureWebJobs.${name}.Disabled" => "1" }

  app_settings  = merge(var.app.settings, local.secrets, local.sign_in, local.app_own)
  slot_settings = merge(var.slot.settings, local.sign_in, local.slot_own, local.disabled)

  # All of them: a swap exchanges the images and nothing else, so no setting can be forgotten here.
  sticky = sort(distinct(concat(keys(local.common), keys(local.app_settings), keys(local.slot_settings))))

  from_outside = [for range in var.allowed_ip_ranges : { name = "allowed", ip_address = range, service_tag = null, fdid = null }]
  from_gateway = [for id in var.gateway.kind == "front_door" ? [var.gateway.front_door_id] : [] :
    { name = "front-door", ip_address = null, service_tag = "AzureFrontDoor.Backend", fdid = [id] }
  ]
}
