mock_provider "azurerm" {
  mock_resource "azurerm_log_analytics_workspace" {
    defaults = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/qts-test-logs" }
  }
  mock_resource "azurerm_application_insights" {
    defaults = {
      id                = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/components/qts-test-insights"
      connection_string = "InstrumentationKey=00000000-0000-0000-0000-000000000000"
    }
  }
  mock_resource "azurerm_logic_app_workflow" {
    defaults = {
      id                             = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Logic/workflows/qts-test-slack"
      workflow_outbound_ip_addresses = ["203.0.113.20"]
      identity                       = { principal_id = "relay" }
    }
  }
  mock_resource "azurerm_logic_app_trigger_http_request" {
    defaults = { callback_url = "https://relay.example/alert" }
  }
  mock_resource "azurerm_monitor_action_group" {
    defaults = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/actionGroups/qts-test-alerts" }
  }
  override_resource {
    target = azurerm_monitor_action_group.owners
    values = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/actionGroups/qts-test-owners" }
  }
  mock_resource "azurerm_application_insights_standard_web_test" {
    defaults = { id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/webTests/qts-test-health" }
  }
}

variables {
  name_prefix         = "qts-test"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev" }
  publishers          = { app = "principal-app", slot = "principal-slot" }
  storage_accounts = {
    main   = { id = "/accounts/main", name = "qtsmain" }
    slot   = { id = "/accounts/slot", name = "qtsslot" }
    backup = { id = "/accounts/backup", name = "qtsbackup" }
  }
  diagnostics = { key_vault = { resource_id = "/vaults/kv", categories = ["AuditEvent"] } }
  key_vault   = { id = "/vaults/alerts", uri = "https://alerts.vault.azure.net/" }
}

run "every_alert_is_there" {
  assert {
    condition = toset(keys(azurerm_monitor_scheduled_query_rules_alert_v2.this)) == toset([
      "no_heartbeat", "clock_stands_still", "stage_lag", "dead_letters", "poison_messages", "failed_collections", "gate_denials",
    "errors", "quarantine", "queue_age", "backup_age", "anchor_age", "logs_are_cut"])
    error_message = "an alert rule is missing, or new and not tested"
  }
  assert {
    condition     = toset(keys(azurerm_monitor_metric_alert.storage_availability)) == toset(["main", "slot", "backup"])
    error_message = "every account's availability must be watched"
  }
  assert {
    condition = alltrue([for name, rule in azurerm_monitor_scheduled_query_rules_alert_v2.this :
      rule.enabled && rule.auto_mitigation_enabled && rule.severity <= 2 && rule.scopes == tolist([azurerm_log_analytics_workspace.this.id]) &&
      rule.action[0].action_groups == tolist([azurerm_monitor_action_group.this.id]) && strcontains(rule.description, "docs/runbook.md#") &&
    !strcontains(rule.criteria[0].query, "$${")])
    error_message = "each rule must be on, end by itself, tell Slack, and say where the runbook tells of it"
  }
  assert {
    condition     = azurerm_monitor_scheduled_query_rules_alert_v2.this["no_heartbeat"].severity == 0 && azurerm_monitor_scheduled_query_rules_alert_v2.this["no_heartbeat"].criteria[0].operator == "LessThan"
    error_message = "no heartbeat is the worst there is"
  }
  assert {
    condition     = strcontains(azurerm_monitor_scheduled_query_rules_alert_v2.this["queue_age"].criteria[0].query, "AccountName == \"qtsmain\"") && strcontains(azurerm_monitor_scheduled_query_rules_alert_v2.this["stage_lag"].criteria[0].query, azurerm_application_insights.this["app"].id)
    error_message = "alerts must be about production: its queues, its Application Insights"
  }
  assert {
    condition     = azurerm_monitor_scheduled_query_rules_alert_v2.this["stage_lag"].criteria[0].dimension[*].name == tolist(["Domain", "Stage"])
    error_message = "each stage must raise its own alert"
  }
}

run "thresholds_are_taken" {
  variables {
    thresholds = { stage_lag_seconds = 7 }
  }
  assert {
    condition     = azurerm_monitor_scheduled_query_rules_alert_v2.this["stage_lag"].criteria[0].threshold == 7 && azurerm_monitor_scheduled_query_rules_alert_v2.this["queue_age"].criteria[0].threshold == 300
    error_message = "a threshold that is given must count, the others stay"
  }
}

run "nobody_sends_by_key" {
  assert {
    condition     = alltrue([for component in azurerm_application_insights.this : !component.local_authentication_enabled]) && !azurerm_log_analytics_workspace.this.local_authentication_enabled
    error_message = "keys must open neither Application Insights nor the workspace"
  }
  assert {
    condition     = { for name, role in azurerm_role_assignment.publisher : name => role.principal_id } == { app = "principal-app", slot = "principal-slot" } && alltrue([for role in azurerm_role_assignment.publisher : role.role_definition_name == "Monitoring Metrics Publisher"])
    error_message = "app and slot must be allowed to send, each to its own"
  }
}

run "slack_is_told_and_the_secret_stays_in_the_vault" {
  assert {
    condition     = azurerm_monitor_action_group.this.logic_app_receiver[0].use_common_alert_schema && azurerm_monitor_action_group.this.logic_app_receiver[0].callback_url == "https://relay.example/alert"
    error_message = "the action group must tell the relay, in the common schema"
  }
  assert {
    condition     = azurerm_role_assignment.slack.scope == "/vaults/alerts" && azurerm_role_assignment.slack.role_definition_name == "Key Vault Secrets User" && azurerm_role_assignment.slack.principal_id == "relay"
    error_message = "the relay may read the secrets of this vault, and nothing else"
  }
  assert {
    condition     = jsondecode(azurerm_logic_app_action_custom.read_webhook.body).inputs.uri == "https://alerts.vault.azure.net/secrets/slack-webhook-url?api-version=7.4" && jsondecode(azurerm_logic_app_action_custom.read_webhook.body).inputs.authentication.type == "ManagedServiceIdentity"
    error_message = "the address must be read from the vault, by identity"
  }
  assert {
    condition     = jsondecode(azurerm_logic_app_action_custom.read_webhook.body).runtimeConfiguration.secureData.properties == ["outputs"] && jsondecode(azurerm_logic_app_action_custom.tell_slack.body).runtimeConfiguration.secureData.properties == ["inputs"]
    error_message = "the history of runs must not hold the address"
  }
  assert {
    condition     = jsondecode(azurerm_logic_app_action_custom.tell_slack.body).inputs.uri == "@body('read_webhook')?['value']" && keys(jsondecode(azurerm_logic_app_action_custom.tell_slack.body).inputs.body) == ["text"] && jsondecode(azurerm_logic_app_action_custom.tell_slack.body).runAfter == { read_webhook = ["Succeeded"] }
    error_message = "Slack takes {text}, and is told after the address was read"
  }
  assert {
    condition     = azurerm_monitor_metric_alert.slack_relay.criteria[0].metric_name == "RunsFailed" && output.slack_relay_ip_addresses == tolist(["203.0.113.20"])
    error_message = "a relay that fails must be noticed"
  }
  assert {
    condition     = length(azurerm_monitor_metric_alert.slack_relay.action) == 1 && one(azurerm_monitor_metric_alert.slack_relay.action).action_group_id == azurerm_monitor_action_group.owners.id && length(azurerm_monitor_action_group.owners.logic_app_receiver) == 0 && azurerm_monitor_action_group.owners.arm_role_receiver[0].role_id == "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    error_message = "that the relay fails, somebody must hear without the relay, though nobody gave an address"
  }
}

run "logs_are_kept" {
  assert {
    condition     = toset(keys(azurerm_monitor_diagnostic_setting.this)) == toset(["key_vault", "blobs-main", "blobs-slot", "blobs-backup", "queues-main"])
    error_message = "logs of the vault, of every account's blobs and of production's queues must be kept"
  }
  assert {
    condition     = azurerm_monitor_diagnostic_setting.this["queues-main"].target_resource_id == "/accounts/main/queueServices/default" && azurerm_log_analytics_workspace.this.retention_in_days == 90 && azurerm_log_analytics_workspace.this.daily_quota_gb == 5
    error_message = "queues of the main account, for 90 days, 5 GB a day at most"
  }
}

run "dashboard_shows_custom_metrics" {
  assert {
    condition     = length([for item in jsondecode(azurerm_application_insights_workbook.this.data_json).items : item if item.type == 3]) >= 16 && !strcontains(azurerm_application_insights_workbook.this.data_json, "$${")
    error_message = "the workbook must have its charts, and no gap in them"
  }
}

run "health_is_asked_from_outside_where_there_is_a_way_in" {
  variables {
    availability_test_enabled = true
    availability_url          = "https://qts-test.azurefd.net"
    alert_emails              = ["ops@example.com"]
  }
  assert {
    condition     = azurerm_application_insights_standard_web_test.health[0].request[0].url == "https://qts-test.azurefd.net/health" && azurerm_application_insights_standard_web_test.health[0].validation_rules[0].expected_status_code == 200 && azurerm_monitor_metric_alert.health[0].severity == 0
    error_message = "/health must be asked, and answer 200"
  }
  assert {
    condition     = azurerm_monitor_action_group.this.email_receiver[*].email_address == tolist(["ops@example.com"]) && azurerm_monitor_action_group.owners.email_receiver[*].email_address == tolist(["ops@example.com"])
    error_message = "e-mail must be told, too"
  }
}

run "without_a_way_in_nobody_asks" {
  command = plan
  assert {
    condition     = length(azurerm_application_insights_standard_web_test.health) == 0 && length(azurerm_monitor_metric_alert.health) == 0
    error_message = "there must be no test that can only fail"
  }
}

run "refuses_what_is_out_of_range" {
  command = plan
  variables {
    name_prefix       = "Q"
    retention_days    = 7
    daily_quota_gb    = 0
    alert_emails      = ["nobody"]
    slack_secret_name = "a b"
    thresholds        = { gate_denials_percent = 101 }
    storage_accounts  = { slot = { id = "/accounts/slot", name = "qtsslot" } }
  }
  expect_failures = [var.name_prefix, var.retention_days, var.daily_quota_gb, var.alert_emails, var.slack_secret_name, var.thresholds, var.storage_accounts]
}
