variable "name_prefix" {
  description = "What all names begin with, such as qts-prod."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 24 lower-case letters, digits and hyphens, beginning with a letter, such as qts-prod."
  }
}

variable "name_suffix" {
  description = "What the name ends with, since it must be the only one in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{4,8}$", var.name_suffix))
    error_message = "name_suffix must be 4 to 8 lower-case letters and digits."
  }

  validation {
    condition     = length(replace("${var.name_prefix}kv${var.name_suffix}", "-", "")) <= 24
    error_message = "The vault would be called ${replace("${var.name_prefix}kv${var.name_suffix}", "-", "")}; at most 24 characters are possible. Give a shorter name_prefix or name_suffix."
  }
}

variable "purpose" {
  description = "Whose secrets it holds: those of the app, or those that alerts are told with, whose reader comes from outside the network."
  type        = string
  default     = "app"
  nullable    = false

  validation {
    condition     = contains(["app", "alerts"], var.purpose)
    error_message = "purpose must be app or alerts."
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

variable "tenant_id" {
  description = "Tenant whose people and identities the vault knows."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.tenant_id))
    error_message = "tenant_id must be a UUID."
  }
}

variable "sku" {
  description = "standard, or premium, which keeps keys in hardware."
  type        = string
  default     = "standard"
  nullable    = false

  validation {
    condition     = contains(["standard", "premium"], var.sku)
    error_message = "sku must be standard or premium."
  }
}

variable "purge_protection_enabled" {
  description = "Whether nobody can remove for good what was deleted before soft_delete_days are over. Once on, it stays on."
  type        = bool
  default     = true
  nullable    = false
}

variable "soft_delete_days" {
  description = "How long what was deleted can be brought back. It cannot be changed later."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90 && floor(var.soft_delete_days) == var.soft_delete_days
    error_message = "soft_delete_days must be a whole number from 7 to 90."
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
    condition     = var.network == null || alltrue([for zone in ["vault"] : contains(keys(try(var.network.private_dns_zone_ids, {})), zone)])
    error_message = "network.private_dns_zone_ids must hold: vault."
  }
}

variable "public_network_access_enabled" {
  description = "Whether allowed_ip_ranges may enter from outside the network."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.public_network_access_enabled || var.network != null
    error_message = "With neither public_network_access_enabled nor a network for private endpoints nobody could get in: give one of them."
  }
}

variable "allowed_ip_ranges" {
  description = "Who may enter from outside, as IPv4 CIDR, where public_network_access_enabled is on; nobody without it."
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
