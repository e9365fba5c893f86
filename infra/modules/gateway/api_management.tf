# API Management asks for no key of its own: the app does (docs/access.md), and is told it unchanged. It reaches the
# app inside the network, so that nobody reaches it from outside.

locals {
  api_management = var.kind == "api_management" ? 1 : 0
  methods        = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
}

resource "azurerm_api_management" "this" {
  count = local.api_management

  name                       = "${var.name_prefix}-api-${var.name_suffix}"
  location                   = var.location
  resource_group_name        = var.resource_group_name
  sku_name                   = var.api_management.sku
  publisher_name             = var.api_management.publisher_name
  publisher_email            = var.api_management.publisher_email
  min_api_version            = "2021-08-01" # older ones hand out secrets
  client_certificate_enabled = false
  tags                       = var.tags
  virtual_network_type       = "External" # it answers outside, and asks inside

  virtual_network_configuration {
    subnet_id = var.subnet_id
  }

  security {
    frontend_ssl30_enabled     = false
    frontend_tls10_enabled     = false
    frontend_tls11_enabled     = false
    backend_ssl30_enabled      = false
    backend_tls10_enabled      = false
    backend_tls11_enabled      = false
    triple_des_ciphers_enabled = false
  }
}

resource "azurerm_api_management_backend" "this" {
  count = local.api_management

  name                = "observer"
  api_management_name = azurerm_api_management.this[0].name
  resource_group_name = var.resource_group_name
  protocol            = "http"
  url                 = "https://${var.backend_host}"

  tls {
    validate_certificate_chain = true
    validate_certificate_name  = true
  }
}

resource "azurerm_api_management_api" "this" {
  count = local.api_management

  name                  = "observer"
  display_name          = "QTS Observer"
  revision              = "1"
  path                  = ""
  protocols             = ["https"]
  api_management_name   = azurerm_api_management.this[0].name
  resource_group_name   = var.resource_group_name
  subscription_required = false
}

resource "azurerm_api_management_api_operation" "this" {
  for_each = local.api_management == 1 ? toset(local.methods) : []

  operation_id        = lower(each.key)
  display_name        = each.key
  method              = each.key
  url_template        = "/*"
  api_name            = azurerm_api_management_api.this[0].name
  api_management_name = azurerm_api_management.this[0].name
  resource_group_name = var.resource_group_name
}

resource "azurerm_api_management_api_policy" "this" {
  count = local.api_management

  api_name            = azurerm_api_management_api.this[0].name
  api_management_name = azurerm_api_management.this[0].name
  resource_group_name = var.resource_group_name
  xml_content = templatefile("${path.module}/api_policy.xml", {
    backend = azurerm_api_management_backend.this[0].name
    calls   = var.rate_limit_per_minute
  })
}
