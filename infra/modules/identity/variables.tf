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
  description = "Whose identity it is, and with that what it may: app (production) and slot work with their own storage, platform pulls images and reads secrets for both of them."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["app", "slot", "platform"], var.purpose)
    error_message = "purpose must be app, slot or platform."
  }
}

variable "storage_account_ids" {
  description = "Accounts, by purpose, of which all blobs, queues and tables are its own: exactly one for app and for slot, none for platform."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.storage_account_ids) == (contains(["app", "slot"], var.purpose) ? 1 : 0)
    error_message = "storage_account_ids must hold exactly one account for app and for slot, and none for platform."
  }

  validation {
    condition     = var.purpose != "slot" || !anytrue([for name in keys(var.storage_account_ids) : name != "slot"])
    error_message = "The slot's identity must enter the account \"slot\" and no other: it would work production's messages."
  }
}

variable "container_ids" {
  description = "Single containers of other accounts, by name, that it also writes to: anchors and backups of production."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.container_ids) == 0 || var.purpose == "app"
    error_message = "container_ids are for app alone."
  }

  validation {
    condition     = alltrue([for id in values(var.container_ids) : can(regex("/blobServices/default/containers/[^/]+$", id))])
    error_message = "container_ids must be resource ids of containers, ending in /blobServices/default/containers/NAME, and not of whole accounts."
  }
}

variable "key_vault_id" {
  description = "The vault whose secrets platform reads."
  type        = string
  default     = null
  nullable    = true

  validation {
    condition     = var.purpose != "platform" || var.key_vault_id != null
    error_message = "key_vault_id is needed for platform."
  }
}

variable "registry_id" {
  description = "The registry that platform pulls from."
  type        = string
  default     = null
  nullable    = true

  validation {
    condition     = var.purpose != "platform" || var.registry_id != null
    error_message = "registry_id is needed for platform."
  }
}
