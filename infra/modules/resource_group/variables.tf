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

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}

variable "lock" {
  description = "Whether nothing in the group can be deleted before the lock is. It does not keep data from being written or removed."
  type        = bool
  default     = true
  nullable    = false
}
