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

variable "purpose" {
  description = "What the account is for: main (journals of production), slot (those of the staging slot), backup (copies and anchors, in other hands than the journals)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["main", "slot", "backup"], var.purpose)
    error_message = "purpose must be main, slot or backup."
  }
}

variable "account_name_suffix" {
  description = "What the name of the account ends with, since it must be the only one in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{4,8}$", var.account_name_suffix))
    error_message = "account_name_suffix must be 4 to 8 lower-case letters and digits."
  }

  validation {
    condition     = length(replace("${var.name_prefix}st${var.account_name_suffix}", "-", "")) <= 24
    error_message = "The account would be called ${replace("${var.name_prefix}st${var.account_name_suffix}", "-", "")}; at most 24 characters are possible. Give a shorter name_prefix or account_name_suffix."
  }
}

variable "replication" {
  description = "How many copies there are, and where: LRS (one place), ZRS (three zones), GRS, GZRS, RAGRS, RAGZRS (another region, too)."
  type        = string
  default     = "ZRS"
  nullable    = false

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS", "RAGRS", "RAGZRS"], var.replication)
    error_message = "replication must be LRS, ZRS, GRS, GZRS, RAGRS or RAGZRS."
  }
}

variable "containers" {
  description = "Containers that are made here. The Observer makes all it misses by itself, so only those that are protected or that a role is given on: with immutable_days nothing in it can be changed or deleted before that age, only appended to; locked can never be undone, by anybody."
  type = map(object({
    immutable_days = optional(number)
    locked         = optional(bool, false)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.containers) : can(regex("^[a-z0-9](-?[a-z0-9]){2,62}$", name)) && length(name) <= 63])
    error_message = "containers must be called by 3 to 63 lower-case letters, digits and single inner hyphens."
  }

  validation {
    condition     = alltrue([for container in values(var.containers) : container.immutable_days == null || try(container.immutable_days >= 1 && container.immutable_days <= 146000 && floor(container.immutable_days) == container.immutable_days, false)])
    error_message = "immutable_days must be a whole number from 1 to 146000."
  }

  validation {
    condition     = alltrue([for container in values(var.containers) : !container.locked || container.immutable_days != null])
    error_message = "Only a container with immutable_days can be locked."
  }

  validation {
    condition     = !contains(keys(var.containers), "backups") || try(var.containers["backups"].immutable_days, null) == null
    error_message = "backups cannot be immutable: each backup writes its place's lists anew, and prune removes what nobody needs (docs/backup.md). Soft delete protects it."
  }
}

variable "soft_delete_days" {
  description = "How long blobs and containers that were deleted can be brought back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 365 && floor(var.soft_delete_days) == var.soft_delete_days
    error_message = "soft_delete_days must be a whole number from 7 to 365."
  }
}

variable "aging" {
  description = "After how many days what was overwritten or deleted goes (then soft_delete_days begin), changes are no longer listed, and the contents of backups become cool, which costs less to keep and more to verify; null: never."
  type = object({
    previous_versions_days = optional(number, 7)
    change_feed_days       = optional(number, 90)
    cool_backups_days      = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for days in values(var.aging) : days == null || try(days >= 1 && days <= 36500 && floor(days) == days, false)])
    error_message = "aging must be whole numbers of days, from 1 to 36500."
  }

  validation {
    condition     = var.aging.previous_versions_days != null && var.aging.change_feed_days != null
    error_message = "aging.previous_versions_days and aging.change_feed_days cannot be null: states are overwritten all the time, and each version would stay forever."
  }

  validation {
    condition     = var.aging.cool_backups_days == null || (var.purpose == "backup" && contains(keys(var.containers), "backups"))
    error_message = "aging.cool_backups_days is for an account with purpose backup and a container backups: journals are never moved."
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
    condition     = var.network == null || alltrue([for zone in ["blob", "queue", "table"] : contains(keys(try(var.network.private_dns_zone_ids, {})), zone)])
    error_message = "network.private_dns_zone_ids must hold: blob, queue and table."
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

  validation {
    condition     = alltrue([for range in var.allowed_ip_ranges : !endswith(range, "/31")])
    error_message = "allowed_ip_ranges cannot hold a /31, which storage accounts refuse: give two of /32."
  }
}
