# The app takes nothing but what this very profile sends (its id is in X-Azure-FDID). Keys, tokens and the signed-in
# person pass through untouched; docs/access.md says who may do what.

locals {
  front_door = var.kind == "front_door" ? 1 : 0
  premium    = var.front_door_sku == "Premium_AzureFrontDoor"
}

resource "azurerm_cdn_frontdoor_profile" "this" {
  count = local.front_door

  name                     = "${var.name_prefix}-fd"
  resource_group_name      = var.resource_group_name
  sku_name                 = var.front_door_sku
  response_timeout_seconds = 240 # the longest there is: a stream of events is quiet while nothing happens
  tags                     = var.tags
}

resource "azurerm_cdn_frontdoor_endpoint" "this" {
  count = local.front_door

  name                     = "${var.name_prefix}-${var.name_suffix}"
  cdn_frontdoor_profile_id = azurerm_cdn_frontdoor_profile.this[0].id
  tags                     = var.tags
}

resource "azurerm_cdn_frontdoor_origin_group" "this" {
  count = local.front_door

  name                     = "observer"
  cdn_frontdoor_profile_id = azurerm_cdn_frontdoor_profile.this[0].id
  session_affinity_enabled = false

  load_balancing {
    sample_size                 = 4
    successful_samples_required = 3
  }

  health_probe {
    path                = "/readyz"
    protocol            = "Https"
    request_type        = "GET" # /readyz answers no HEAD
    interval_in_seconds = 60
  }
}

resource "azurerm_cdn_frontdoor_origin" "this" {
  count = local.front_door

  name                           = "app"
  cdn_frontdoor_origin_group_id  = azurerm_cdn_frontdoor_origin_group.this[0].id
  host_name                      = var.backend_host
  origin_host_header             = var.backend_host
  certificate_name_check_enabled = true
}

# Without a cache there is no compression either, and an answer passes as it comes.
resource "azurerm_cdn_frontdoor_route" "this" {
  count = local.front_door

  name                          = "all"
  cdn_frontdoor_endpoint_id     = azurerm_cdn_frontdoor_endpoint.this[0].id
  cdn_frontdoor_origin_group_id = azurerm_cdn_frontdoor_origin_group.this[0].id
  cdn_frontdoor_origin_ids      = [azurerm_cdn_frontdoor_origin.this[0].id]
  patterns_to_match             = ["/*"]
  supported_protocols           = ["Http", "Https"] # Http only to be sent to Https
  https_redirect_enabled        = true
  forwarding_protocol           = "HttpsOnly"
  link_to_default_domain        = true
}

resource "azurerm_cdn_frontdoor_firewall_policy" "this" {
  count = local.front_door

  name                       = replace("${var.name_prefix}waf", "-", "")
  resource_group_name        = var.resource_group_name
  sku_name                   = var.front_door_sku
  mode                       = "Prevention"
  request_body_check_enabled = true
  tags                       = var.tags

  custom_rule {
    name                           = "RateLimit"
    type                           = "RateLimitRule"
    action                         = "Block"
    priority                       = 100
    rate_limit_duration_in_minutes = 1
    rate_limit_threshold           = var.rate_limit_per_minute

    match_condition { # everybody
      match_variable = "RemoteAddr"
      operator       = "IPMatch"
      match_values   = ["0.0.0.0/0", "::/0"]
    }
  }

  dynamic "managed_rule" {
    for_each = local.premium ? { Microsoft_DefaultRuleSet = "2.1", Microsoft_BotManagerRuleSet = "1.1" } : {}
    content {
      type    = managed_rule.key
      version = managed_rule.value
      action  = "Block"

      # Who calls is a program mostly, or asks whether all is well: no bot to be blocked, whatever the set's own action is.
      dynamic "override" {
        for_each = managed_rule.key == "Microsoft_BotManagerRuleSet" ? ["UnknownBots"] : []
        content {
          rule_group_name = override.value

          dynamic "rule" {
            for_each = ["Bot300300", "Bot300500"] # HTTP clients and SDKs; health monitoring
            content {
              rule_id = rule.value
              action  = "Log"
              enabled = true
            }
          }
        }
      }
    }
  }
}

resource "azurerm_cdn_frontdoor_security_policy" "this" {
  count = local.front_door

  name                     = "firewall"
  cdn_frontdoor_profile_id = azurerm_cdn_frontdoor_profile.this[0].id

  security_policies {
    firewall {
      cdn_frontdoor_firewall_policy_id = azurerm_cdn_frontdoor_firewall_policy.this[0].id

      association {
        patterns_to_match = ["/*"]

        domain {
          cdn_frontdoor_domain_id = azurerm_cdn_frontdoor_endpoint.this[0].id
        }
      }
    }
  }
}
