# One rule for each file of alerts/. Queries name instruments as they arrive: without `_total`, a counter's rows are
# what was added, a gauge's what it was. What must be there is counted so that no rows at all count as bad.

locals {
  rules = {
    no_heartbeat = {
      says     = "The Observer has not said for ten minutes that it can read its journals."
      chapter  = "the-process-was-killed-hangs-or-ran-out-of-memory"
      severity = 0, window = "PT10M", column = "Beats", operator = "LessThan", threshold = 1, by = []
    }
    clock_stands_still = {
      says     = "The live clock has not moved for ten minutes: nothing is decided, and the gate denies."
      chapter  = "the-clock-jumped"
      severity = 0, window = "PT10M", column = "Ticks", operator = "LessThan", threshold = 1, by = []
    }
    stage_lag = {
      says     = "A stage is behind its domain's time by more than ${var.thresholds.stage_lag_seconds} s."
      chapter  = "a-stage-lags"
      severity = 1, window = "PT10M", column = "Lag", operator = "GreaterThan", threshold = var.thresholds.stage_lag_seconds, by = ["Domain", "Stage"]
    }
    dead_letters = {
      says     = "A message or a delivery was given up, and became a dead letter."
      chapter  = "dead-letters"
      severity = 1, window = "PT15M", column = "Letters", operator = "GreaterThan", threshold = 0, by = []
    }
    poison_messages = {
      says     = "The host gave up a message and put it into a poison queue."
      chapter  = "poison-queues"
      severity = 1, window = "PT15M", column = "Messages", operator = "GreaterThan", threshold = 0, by = ["Queue"]
    }
    failed_collections = {
      says     = "More than ${var.thresholds.failed_collections_percent} % of a source's collections got no answer."
      chapter  = "a-source-is-silent"
      severity = 2, window = "PT15M", column = "Share", operator = "GreaterThan", threshold = var.thresholds.failed_collections_percent, by = ["Source"]
    }
    gate_denials = {
      says     = "The gate has denied more than ${var.thresholds.gate_denials_percent} % of at least 20 questions."
      chapter  = "the-gate-denies-everything"
      severity = 2, window = "PT15M", column = "Share", operator = "GreaterThan", threshold = var.thresholds.gate_denials_percent, by = ["Domain"]
    }
    errors = {
      says     = "More than ${var.thresholds.errors} errors were logged within a quarter of an hour."
      chapter  = "every-day"
      severity = 2, window = "PT15M", column = "Errors", operator = "GreaterThan", threshold = var.thresholds.errors, by = []
    }
    quarantine = {
      says     = "A record was set aside, and what it concerns is closed."
      chapter  = "a-record-is-in-quarantine"
      severity = 1, window = "PT15M", column = "Entries", operator = "GreaterThan", threshold = 0, by = []
    }
    queue_age = {
      says     = "A queue has a message, and nothing was taken out of it, for more than ${var.thresholds.queue_age_seconds} s."
      chapter  = "a-stage-lags"
      severity = 1, window = "PT30M", column = "Age", operator = "GreaterThan", threshold = var.thresholds.queue_age_seconds, by = ["Queue"]
    }
    backup_age = {
      says     = "The last backup is older than ${var.thresholds.backup_age_seconds} s, or there is none."
      chapter  = "recovery"
      severity = 2, window = "PT30M", column = "Age", operator = "GreaterThan", threshold = var.thresholds.backup_age_seconds, by = []
    }
    anchor_age = {
      says     = "The last anchor that left the store is older than ${var.thresholds.anchor_age_seconds} s, or there is none."
      chapter  = "suspected-tampering"
      severity = 2, window = "PT30M", column = "Age", operator = "GreaterThan", threshold = var.thresholds.anchor_age_seconds, by = []
    }
    logs_are_cut = {
      says     = "Logs and metrics have reached the limit of the day: nothing comes in until it is over, and every other alert is blind."
      chapter  = "every-day"
      severity = 1, window = "PT30M", column = "Cuts", operator = "GreaterThan", threshold = 0, by = []
    }
  }
  query = {
    component = azurerm_application_insights.this["app"].id
    account   = var.storage_accounts["main"].name
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each = local.rules

  name                    = "${var.name_prefix}-${replace(each.key, "_", "-")}"
  display_name            = "${var.name_prefix}: ${replace(each.key, "_", " ")}"
  description             = "${each.value.says} ${var.runbook_url}#${each.value.chapter}"
  location                = var.location
  resource_group_name     = var.resource_group_name
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  severity                = each.value.severity
  enabled                 = var.enabled
  evaluation_frequency    = "PT5M"
  window_duration         = each.value.window
  auto_mitigation_enabled = true
  skip_query_validation   = true # a table is made with its first row, which comes after this
  tags                    = var.tags

  criteria {
    query                   = templatefile("${path.module}/alerts/${each.key}.kql", local.query)
    metric_measure_column   = each.value.column
    time_aggregation_method = "Maximum"
    operator                = each.value.operator
    threshold               = each.value.threshold

    dynamic "dimension" {
      for_each = each.value.by
      content {
        name     = dimension.value
        operator = "Include"
        values   = ["*"]
      }
    }

    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = [azurerm_monitor_action_group.this.id]
  }
}

resource "azurerm_monitor_metric_alert" "storage_availability" {
  for_each = var.storage_accounts

  name                = "${var.name_prefix}-storage-availability-${each.key}"
  description         = "Less than ${var.thresholds.storage_availability_percent} % of what was asked of the storage account ${each.key} was answered. ${var.runbook_url}#the-storage-account-does-not-answer"
  resource_group_name = var.resource_group_name
  scopes              = [each.value.id]
  severity            = each.key == "slot" ? 3 : 1
  enabled             = var.enabled
  frequency           = "PT5M"
  window_size         = "PT15M"
  auto_mitigate       = true
  tags                = var.tags

  criteria {
    metric_namespace = "Microsoft.Storage/storageAccounts"
    metric_name      = "Availability"
    aggregation      = "Average"
    operator         = "LessThan"
    threshold        = var.thresholds.storage_availability_percent
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

# Mail alone can tell of this one.
resource "azurerm_monitor_metric_alert" "slack_relay" {
  name                = "${var.name_prefix}-slack-relay"
  description         = "Slack could not be told of an alert: is the address of its webhook in the vault, and good? ${var.runbook_url}#every-day"
  resource_group_name = var.resource_group_name
  scopes              = [azurerm_logic_app_workflow.slack.id]
  severity            = 1
  enabled             = var.enabled
  frequency           = "PT5M"
  window_size         = "PT15M"
  auto_mitigate       = true
  tags                = var.tags

  criteria {
    metric_namespace = "Microsoft.Logic/workflows"
    metric_name      = "RunsFailed"
    aggregation      = "Total"
    operator         = "GreaterThan"
    threshold        = 0
  }

  action {
    action_group_id = azurerm_monitor_action_group.owners.id
  }
}
