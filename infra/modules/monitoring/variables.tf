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
}

variable "resource_group_name" {
  description = "Resource group of the monitoring."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}

variable "retention_days" {
  description = "How long logs and metrics are kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.retention_days >= 30 && var.retention_days <= 730 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days must be a whole number from 30 to 730."
  }
}

variable "daily_quota_gb" {
  description = "How much may come in a day, in GB; -1: as much as comes. What is over is lost, with an alert."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.daily_quota_gb == -1 || var.daily_quota_gb >= 0.1
    error_message = "daily_quota_gb must be -1, or 0.1 at least."
  }
}

variable "publishers" {
  description = "Principal ids of production's and of the slot's identity: each may send to its own Application Insights, and nobody else to either."
  type = object({
    app  = string
    slot = string
  })
  nullable = false
}

variable "storage_accounts" {
  description = "Accounts to watch, by purpose; the queues of main are those that production works from."
  type = map(object({
    id   = string
    name = string
  }))
  nullable = false

  validation {
    condition     = contains(keys(var.storage_accounts), "main")
    error_message = "storage_accounts must hold main, the account of production."
  }
}

variable "diagnostics" {
  description = "Other resources whose logs are kept, and which categories of them."
  type = map(object({
    resource_id = string
    categories  = list(string)
  }))
  default  = {}
  nullable = false
}

variable "key_vault" {
  description = "The vault that holds the address of Slack's webhook under slack_secret_name. The relay reads it when it tells Slack; Terraform never does."
  type = object({
    id  = string
    uri = string
  })
  nullable = false
}

variable "slack_secret_name" {
  description = "Name of the secret with the address of Slack's webhook."
  type        = string
  default     = "slack-webhook-url"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z-]{1,127}$", var.slack_secret_name))
    error_message = "slack_secret_name must be 1 to 127 letters, digits and hyphens."
  }
}

variable "alert_emails" {
  description = "Who is told by e-mail, too; with the subscription's owners also of it when Slack cannot be told."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails must be addresses such as ops@example.com."
  }
}

variable "runbook_url" {
  description = "Where the runbook is; alerts link to its chapters."
  type        = string
  default     = "docs/runbook.md"
  nullable    = false
}

variable "thresholds" {
  description = "From when on an alert is raised."
  type = object({
    stage_lag_seconds            = optional(number, 120)
    failed_collections_percent   = optional(number, 50)
    gate_denials_percent         = optional(number, 50)
    errors                       = optional(number, 10)
    queue_age_seconds            = optional(number, 300)
    backup_age_seconds           = optional(number, 14400)
    anchor_age_seconds           = optional(number, 14400)
    storage_availability_percent = optional(number, 99)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name, value in var.thresholds : value > 0 && (!endswith(name, "_percent") || value <= 100)])
    error_message = "thresholds must be above zero, and percentages 100 at most."
  }
}

variable "enabled" {
  description = "Whether alerts are raised."
  type        = bool
  default     = true
  nullable    = false
}

variable "availability_url" {
  description = "Address whose /health is asked from outside; null where nothing may enter from outside."
  type        = string
  default     = null
  nullable    = true
}

variable "availability_test_enabled" {
  description = "Whether /health of availability_url is asked from outside."
  type        = bool
  default     = false
  nullable    = false
}
