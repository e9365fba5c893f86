output "url" {
  description = "Address that callers use; null without a gateway."
  value = {
    none           = null
    front_door     = one([for endpoint in azurerm_cdn_frontdoor_endpoint.this : "https://${endpoint.host_name}"])
    api_management = one(azurerm_api_management.this[*].gateway_url)
  }[var.kind]
}

output "front_door_id" {
  description = "What Front Door says in X-Azure-FDID; null without it."
  value       = one(azurerm_cdn_frontdoor_profile.this[*].resource_guid)
}

output "resource_id" {
  description = "Resource id of the gateway, whose logs are kept; null without one."
  value       = one(concat(azurerm_cdn_frontdoor_profile.this[*].id, azurerm_api_management.this[*].id))
}
