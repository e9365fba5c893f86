variable "subscription_id" {
  description = "Subscription that everything is made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id must be a lower-case UUID (TF_VAR_subscription_id)."
  }
}

variable "tenant_id" {
  description = "Directory of the subscription."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id must be a lower-case UUID (TF_VAR_tenant_id)."
  }
}

variable "environment" {
  description = "dev, staging or prod."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "project" {
  description = "What all names begin with, and the tag project."
  type        = string
  default     = "qts"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.project))
    error_message = "project must be 2 to 8 lower-case letters and digits, beginning with a letter: names of storage accounts and vaults are short."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
  default     = "koreacentral"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.location))
    error_message = "location must be the short name of a region, such as koreacentral."
  }
}

variable "cost_center" {
  description = "Who pays: the tag cost_center."
  type        = string
  nullable    = false

  validation {
    condition     = length(trimspace(var.cost_center)) > 0
    error_message = "cost_center must not be empty."
  }
}

variable "image_tag" {
  description = "Tag of the image that the app is created with, such as GIT_SHA-functions. Later ones are set by the deployment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must be a tag of one build, such as a git sha, and not latest."
  }
}

variable "address_space" {
  description = "Address range of the virtual network, /24 at least."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrhost(var.address_space, 0)) && can(cidrsubnet(var.address_space, 2, 0)) && tonumber(try(split("/", var.address_space)[1], 32)) <= 24
    error_message = "address_space must be a CIDR block of /24 or larger, such as 10.40.0.0/22."
  }
}

variable "plan_sku" {
  description = "EP1 to EP3: Elastic Premium, which scales by its queues itself. P0v3 to P3v3: dedicated, with an autoscale rule."
  type        = string
  default     = "EP1"
  nullable    = false

  validation {
    condition     = contains(["EP1", "EP2", "EP3", "P0v3", "P1v3", "P2v3", "P3v3"], var.plan_sku)
    error_message = "plan_sku must be EP1, EP2, EP3, P0v3, P1v3, P2v3 or P3v3: other plans have no slots, containers or virtual network."
  }
}

variable "instances" {
  description = "How many instances always run, and how many there may be."
  type = object({
    always_ready = number
    maximum      = number
  })
  default  = { always_ready = 1, maximum = 3 }
  nullable = false
}

variable "zone_balancing_enabled" {
  description = "Whether instances are spread over the zones of the region; takes three at least."
  type        = bool
  default     = false
  nullable    = false
}

variable "storage_replication" {
  description = "Copies of each storage account: LRS one zone, ZRS three zones, GRS and GZRS another region, too."
  type = object({
    main   = optional(string, "ZRS")
    slot   = optional(string, "LRS")
    backup = optional(string, "GRS")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for kind in values(var.storage_replication) : contains(["LRS", "ZRS", "GRS", "GZRS"], kind)])
    error_message = "storage_replication must be LRS, ZRS, GRS or GZRS for each account."
  }
}

variable "soft_delete_days" {
  description = "How long what was deleted from storage can be brought back."
  type        = number
  default     = 30
  nullable    = false
}

variable "anchor_immutable_days" {
  description = "How long nobody can change or remove an anchor of the ledger, whoever he is."
  type        = number
  default     = 365
  nullable    = false
}

variable "anchors_locked" {
  description = "Whether that can never be undone, by anybody: the account then stays until the last anchor is old enough."
  type        = bool
  default     = false
  nullable    = false
}

variable "registry_sku" {
  description = "Premium: the registry is inside the network only. Standard: whoever has a role may enter from anywhere, such as GitHub's own runners."
  type        = string
  default     = "Premium"
  nullable    = false

  validation {
    condition     = contains(["Standard", "Premium"], var.registry_sku)
    error_message = "registry_sku must be Standard or Premium."
  }
}

variable "internet_ports" {
  description = "Ports on which sources and sinks are reached in the Internet."
  type        = set(string)
  default     = ["443"]
  nullable    = false

  validation {
    condition     = contains(var.internet_ports, "443") || var.registry_sku == "Premium"
    error_message = "internet_ports must have 443 where registry_sku is Standard: the app pulls its image through it."
  }
}

variable "private_endpoint_clients" {
  description = "Who besides app and gateway may ask the private endpoints, as CIDR: a peered network with a runner, say."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "delete_protection_enabled" {
  description = "Whether the resource group is locked, and the vault cannot be purged."
  type        = bool
  default     = true
  nullable    = false
}

variable "gateway" {
  description = "What stands in front of the API: none, front_door or api_management."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "front_door", "api_management"], var.gateway)
    error_message = "gateway must be none, front_door or api_management."
  }
}

variable "front_door_sku" {
  description = "Standard_AzureFrontDoor, or Premium_AzureFrontDoor, which has Microsoft's rules in its firewall."
  type        = string
  default     = "Premium_AzureFrontDoor"
  nullable    = false
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
}

variable "rate_limit_per_minute" {
  description = "Requests a minute that one address may make through the gateway."
  type        = number
  default     = 600
  nullable    = false
}

variable "allowed_ip_ranges" {
  description = "Who may enter app and slot from outside the network past the gateway, as CIDR; nobody without it."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "easy_auth_client_id" {
  description = "The app registration that people sign in with (docs/access.md); without it nobody signs in."
  type        = string
  default     = null
  nullable    = true

  validation {
    condition     = var.easy_auth_client_id == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.easy_auth_client_id))
    error_message = "easy_auth_client_id must be a lower-case UUID."
  }
}

variable "observer_settings" {
  description = "Further app settings of production, OBSERVER_…, over those of app_settings.json (docs/functions.md)."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.observer_settings) : can(regex("^OBSERVER_[A-Z0-9_]+$", name))])
    error_message = "observer_settings must be settings of the Observer, OBSERVER_…; secrets belong into secret_settings."
  }
}

variable "secret_settings" {
  description = "App settings of production that hold a secret, and its name in the vault, such as SLACK_WEBHOOK_URL = \"slack-webhook-url\"."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, secret in var.secret_settings : can(regex("^[A-Z][A-Z0-9_]*$", name)) && can(regex("^[0-9A-Za-z-]{1,127}$", secret))])
    error_message = "secret_settings must be NAME = \"name-in-the-vault\", never the secret itself."
  }
}

variable "retention_days" {
  description = "How long logs and metrics are kept."
  type        = number
  default     = 90
  nullable    = false
}

variable "daily_quota_gb" {
  description = "How much may come into the workspace a day, in GB; -1: as much as comes."
  type        = number
  default     = 5
  nullable    = false
}

variable "alerts_enabled" {
  description = "Whether alerts are raised."
  type        = bool
  default     = true
  nullable    = false
}

variable "alert_emails" {
  description = "Who is told of alerts by e-mail, besides Slack."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "alert_thresholds" {
  description = "From when on an alert is raised; what is not given is the default of modules/monitoring."
  type        = map(number)
  default     = {}
  nullable    = false

  validation {
    condition = length(setsubtract(keys(var.alert_thresholds), [
      "stage_lag_seconds", "failed_collections_percent", "gate_denials_percent", "errors", "queue_age_seconds",
      "backup_age_seconds", "anchor_age_seconds", "storage_availability_percent",
    ])) == 0
    error_message = "alert_thresholds has an unknown name; modules/monitoring/variables.tf has them all."
  }
}

variable "runbook_url" {
  description = "Where the runbook is; alerts link to its chapters."
  type        = string
  default     = "docs/runbook.md"
  nullable    = false
}
