variable "name_prefix" {
  description = "What all names begin with, such as qts-prod."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter, such as qts-prod."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+[a-z0-9]*$", var.location))
    error_message = "location must be the short name of a region, such as koreacentral."
  }
}

variable "resource_group_name" {
  description = "Resource group of everything here."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}

variable "name_suffix" {
  description = "What the name ends with, since it must be the only one in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{4,8}$", var.name_suffix))
    error_message = "name_suffix must be 4 to 8 lower-case letters and digits."
  }
}

variable "sku" {
  description = "Basic, Standard or Premium. Only Premium has private endpoints, a firewall, zones and a retention of its own."
  type        = string
  default     = "Premium"
  nullable    = false

  validation {
    condition     = contains(["Basic", "Standard", "Premium"], var.sku)
    error_message = "sku must be Basic, Standard or Premium."
  }

  validation {
    condition     = var.sku == "Premium" || (var.network == null && var.public_network_access_enabled && length(var.allowed_ip_ranges) == 0 && !var.zone_redundancy_enabled)
    error_message = "A registry that is not Premium has no network, no allowed_ip_ranges and no zone_redundancy_enabled, and needs public_network_access_enabled = true: whoever has a role may then enter from anywhere."
  }
}

variable "zone_redundancy_enabled" {
  description = "Whether images lie in several zones of the region. Changing it makes a new registry."
  type        = bool
  default     = false
  nullable    = false
}

variable "export_enabled" {
  description = "Whether images may be copied from here into another registry, as az acr import does for the next environment."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.export_enabled || (var.sku == "Premium" && !var.public_network_access_enabled)
    error_message = "export_enabled can be false only for a Premium registry without public_network_access_enabled."
  }
}

variable "untagged_days" {
  description = "After how many days an image goes that no tag names any more (Premium)."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.untagged_days >= 1 && var.untagged_days <= 365 && floor(var.untagged_days) == var.untagged_days
    error_message = "untagged_days must be a whole number from 1 to 365."
  }
}

variable "network" {
  description = "Where private endpoints and their names go; without it there are none. private_dns_zone_ids as the module network gives them."
  type = object({
    private_endpoint_subnet_id = string
    private_dns_zone_ids       = map(string)
  })
  default  = null
  nullable = true

  validation {
    condition     = var.network == null || alltrue([for zone in ["registry"] : contains(keys(try(var.network.private_dns_zone_ids, {})), zone)])
    error_message = "network.private_dns_zone_ids must hold: registry."
  }
}

variable "public_network_access_enabled" {
  description = "Whether the registry answers from outside the network, to whoever has a role: GitHub's own runners push from addresses that nobody knows before."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.public_network_access_enabled || var.network != null
    error_message = "With neither public_network_access_enabled nor a network for private endpoints nobody could get in: give one of them."
  }
}

variable "allowed_ip_ranges" {
  description = "Who alone may ask from outside, as IPv4 CIDR, where public_network_access_enabled is on; anybody without it (Premium)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.allowed_ip_ranges : can(cidrnetmask(range)) && !endswith(range, "/0")])
    error_message = "allowed_ip_ranges must be IPv4 CIDR blocks such as 203.0.113.7/32, and not the whole Internet."
  }

  validation {
    condition     = length(var.allowed_ip_ranges) == 0 || var.public_network_access_enabled
    error_message = "allowed_ip_ranges count only with public_network_access_enabled."
  }
}
