# Elastic Premium scales by the length of its queues, and takes no rule.
resource "azurerm_monitor_autoscale_setting" "this" {
  count = local.elastic ? 0 : 1

  name                = "${var.name_prefix}-autoscale"
  location            = var.location
  resource_group_name = var.resource_group_name
  target_resource_id  = azurerm_service_plan.this.id
  tags                = var.tags

  profile {
    name = "processor"

    capacity {
      minimum = var.instances.always_ready
      default = var.instances.always_ready
      maximum = var.instances.maximum
    }

    dynamic "rule" {
      for_each = {
        Increase = { operator = "GreaterThan", threshold = 70, window = "PT5M", cooldown = "PT5M" }
        Decrease = { operator = "LessThan", threshold = 30, window = "PT15M", cooldown = "PT15M" }
      }
      content {
        metric_trigger {
          metric_name        = "CpuPercentage"
          metric_namespace   = "microsoft.web/serverfarms"
          metric_resource_id = azurerm_service_plan.this.id
          statistic          = "Average"
          time_aggregation   = "Average"
          time_grain         = "PT1M"
          time_window        = rule.value.window
          operator           = rule.value.operator
          threshold          = rule.value.threshold
        }
        scale_action {
          direction = rule.key
          type      = "ChangeCount"
          value     = 1
          cooldown  = rule.value.cooldown
        }
      }
    }
  }
}
