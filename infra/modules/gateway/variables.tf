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
  description = "What names end with that must be the only ones in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{4,8}$", var.name_suffix))
    error_message = "name_suffix must be 4 to 8 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region of API Management; Front Door is everywhere."
  type        = string
  nullable    = false
}

variable "resource_group_name" {
  description = "Resource group of the gateway."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}

variable "kind" {
  description = "none, front_door or api_management."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "front_door", "api_management"], var.kind)
    error_message = "kind must be none, front_door or api_management."
  }
}

variable "backend_host" {
  description = "Host name of the app behind it."
  type        = string
  nullable    = false
}

variable "subnet_id" {
  description = "Subnet, delegated to Microsoft.Web/serverFarms, through which API Management reaches the app."
  type        = string
  nullable    = false
}

variable "rate_limit_per_minute" {
  description = "Requests a minute that one address may make."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.rate_limit_per_minute >= 10 && var.rate_limit_per_minute <= 100000 && floor(var.rate_limit_per_minute) == var.rate_limit_per_minute
    error_message = "rate_limit_per_minute must be a whole number from 10 to 100000."
  }
}

variable "front_door_sku" {
  description = "Standard_AzureFrontDoor, or Premium_AzureFrontDoor, which has Microsoft's rules in its firewall."
  type        = string
  default     = "Premium_AzureFrontDoor"
  nullable    = false

  validation {
    condition     = contains(["Standard_AzureFrontDoor", "Premium_AzureFrontDoor"], var.front_door_sku)
    error_message = "front_door_sku must be Standard_AzureFrontDoor or Premium_AzureFrontDoor."
  }
}

variable "api_management" {
  description = "Size of API Management, and who is told of it."
  type = object({
    sku             = optional(string, "StandardV2_1")
    publisher_name  = optional(string, "QTS Observer")
    publisher_email = optional(string, "")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(StandardV2|PremiumV2)_[1-9][0-9]?$", var.api_management.sku))
    error_message = "api_management.sku must be StandardV2 or PremiumV2 and its units, such as StandardV2_1: other tiers do not reach into the network, where the app is."
  }

  validation {
    condition     = var.kind != "api_management" || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.api_management.publisher_email))
    error_message = "api_management.publisher_email must be an address when kind is api_management."
  }
}
