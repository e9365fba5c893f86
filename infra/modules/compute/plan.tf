resource "azurerm_service_plan" "this" {
  name                         = "${var.name_prefix}-plan"
  location                     = var.location
  resource_group_name          = var.resource_group_name
  os_type                      = "Linux"
  sku_name                     = var.plan_sku
  maximum_elastic_worker_count = local.elastic ? var.instances.maximum : null
  worker_count                 = var.instances.always_ready
  zone_balancing_enabled       = var.zone_balancing_enabled
  tags                         = var.tags

  lifecycle {
    ignore_changes = [worker_count] # the autoscale rule moves it, from its own minimum on
  }
}
