# Slack's webhooks do not take what Azure sends, so a Logic App says it in Slack's words. It is none of the Observer's
# own: what tells that the Observer is down must not need it. Its identity reads the webhook's address, which is the
# secret, from the vault when it is needed; neither the state nor the history of its runs holds it.

locals {
  essentials = "triggerBody()?['data']?['essentials']"
  # Slack reads & < > as its own.
  said = { for field in ["alertRule", "severity", "monitorCondition", "description", "investigationLink"] :
    field => "@{replace(replace(replace(coalesce(${local.essentials}?['${field}'],''),'&','&amp;'),'<','&lt;'),'>','&gt;')}"
  }
  sign = "@{if(equals(${local.essentials}?['monitorCondition'],'Resolved'),':large_green_circle:',':red_circle:')}"
}

resource "azurerm_logic_app_workflow" "slack" {
  name                = "${var.name_prefix}-slack"
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_role_assignment" "slack" {
  scope                = var.key_vault.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_logic_app_workflow.slack.identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_logic_app_trigger_http_request" "alert" {
  name         = "alert"
  logic_app_id = azurerm_logic_app_workflow.slack.id
  method       = "POST"
  schema = jsonencode({
    type       = "object"
    required   = ["schemaId", "data"]
    properties = { schemaId = { type = "string" }, data = { type = "object" } }
  })
}

resource "azurerm_logic_app_action_custom" "read_webhook" {
  name         = "read_webhook"
  logic_app_id = azurerm_logic_app_workflow.slack.id
  body = jsonencode({
    type     = "Http"
    runAfter = {}
    inputs = {
      method         = "GET"
      uri            = "${var.key_vault.uri}secrets/${var.slack_secret_name}?api-version=7.4"
      authentication = { type = "ManagedServiceIdentity", audience = "https://vault.azure.net" }
    }
    runtimeConfiguration = { secureData = { properties = ["outputs"] } }
  })
}

resource "azurerm_logic_app_action_custom" "tell_slack" {
  name         = "tell_slack"
  logic_app_id = azurerm_logic_app_workflow.slack.id
  body = jsonencode({
    type     = "Http"
    runAfter = { (azurerm_logic_app_action_custom.read_webhook.name) = ["Succeeded"] }
    inputs = {
      method  = "POST"
      uri     = "@body('read_webhook')?['value']"
      headers = { Content-Type = "application/json" }
      body = {
        text = "${local.sign} *${local.said.alertRule}* (${local.said.severity}, ${local.said.monitorCondition})\n${local.said.description}\n${local.said.investigationLink}"
      }
    }
    runtimeConfiguration = { secureData = { properties = ["inputs"] } }
  })
}

resource "azurerm_monitor_action_group" "this" {
  name                = "${var.name_prefix}-alerts"
  resource_group_name = var.resource_group_name
  short_name          = substr(replace(var.name_prefix, "-", ""), 0, 12)
  tags                = var.tags

  logic_app_receiver {
    name                    = "slack"
    resource_id             = azurerm_logic_app_workflow.slack.id
    callback_url            = azurerm_logic_app_trigger_http_request.alert.callback_url
    use_common_alert_schema = true
  }

  dynamic "email_receiver" {
    for_each = toset(var.alert_emails)
    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

# Who hears that Slack cannot be told. The subscription's owners are there without anybody naming them.
resource "azurerm_monitor_action_group" "owners" {
  name                = "${var.name_prefix}-owners"
  resource_group_name = var.resource_group_name
  short_name          = "owners"
  tags                = var.tags

  arm_role_receiver {
    name                    = "owners"
    role_id                 = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635" # Owner, in every directory
    use_common_alert_schema = true
  }

  dynamic "email_receiver" {
    for_each = toset(var.alert_emails)
    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}
