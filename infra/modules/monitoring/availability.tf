# Asked through the gateway: without one nothing may enter from outside, and the heartbeat has to do.
resource "azurerm_application_insights_standard_web_test" "health" {
  count = var.availability_test_enabled ? 1 : 0

  name                    = "${var.name_prefix}-health"
  location                = var.location
  resource_group_name     = var.resource_group_name
  application_insights_id = azurerm_application_insights.this["app"].id
  description             = "GET /health through the gateway."
  geo_locations           = ["apac-jp-kaw-edge", "apac-hk-hkn-azr", "apac-sg-sin-azr", "emea-au-syd-edge", "us-ca-sjc-azr"]
  frequency               = 300
  timeout                 = 30
  retry_enabled           = true
  enabled                 = var.enabled
  tags                    = var.tags

  request {
    url                              = "${var.availability_url}/health"
    http_verb                        = "GET"
    follow_redirects_enabled         = false
    parse_dependent_requests_enabled = false
  }

  validation_rules {
    expected_status_code        = 200
    ssl_check_enabled           = true
    ssl_cert_remaining_lifetime = 14
  }
}

resource "azurerm_monitor_metric_alert" "health" {
  count = var.availability_test_enabled ? 1 : 0

  name                = "${var.name_prefix}-health"
  description         = "/health does not answer 200 to two places of the world. ${var.runbook_url}#every-day"
  resource_group_name = var.resource_group_name
  scopes              = [azurerm_application_insights_standard_web_test.health[0].id, azurerm_application_insights.this["app"].id]
  severity            = 0
  enabled             = var.enabled
  frequency           = "PT1M"
  window_size         = "PT5M"
  auto_mitigate       = true
  tags                = var.tags

  application_insights_web_test_location_availability_criteria {
    web_test_id           = azurerm_application_insights_standard_web_test.health[0].id
    component_id          = azurerm_application_insights.this["app"].id
    failed_location_count = 2
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}
