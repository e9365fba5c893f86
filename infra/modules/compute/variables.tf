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
  description = "What the name of the app ends with, since it must be the only one in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{4,8}$", var.name_suffix))
    error_message = "name_suffix must be 4 to 8 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region."
  type        = string
  nullable    = false
}

variable "resource_group_name" {
  description = "Resource group of the app."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
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

  validation {
    condition     = 1 <= var.instances.always_ready && var.instances.always_ready <= var.instances.maximum && var.instances.maximum <= 20
    error_message = "instances must be 1 <= always_ready <= maximum <= 20: with none there is no clock, and no heartbeat."
  }
}

variable "zone_balancing_enabled" {
  description = "Whether instances are spread over the zones of the region; takes three at least."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.zone_balancing_enabled || var.instances.always_ready >= 3
    error_message = "zone_balancing_enabled needs instances.always_ready >= 3, one for each zone."
  }
}

variable "image" {
  description = "The image that the app is created with. Later ones are set by the deployment, and Terraform leaves them alone."
  type = object({
    registry = string
    name     = string
    tag      = string
  })
  nullable = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image.tag)) && var.image.tag != "latest"
    error_message = "image.tag must be a tag of one build, such as a git sha, and not latest."
  }
}

variable "app" {
  description = "Production: its identity, its storage account, its settings, and the secrets (setting to name in the vault) that it reads from Key Vault."
  type = object({
    identity_id          = string
    identity_client_id   = string
    storage_account_name = string
    config_dir           = optional(string, "config/functions")
    settings             = optional(map(string), {})
    secrets              = optional(map(string), {})
  })
  nullable = false

  validation {
    condition     = alltrue([for setting in keys(var.app.settings) : !startswith(setting, "AzureWebJobsStorage")])
    error_message = "app.settings must not hold AzureWebJobsStorage: the account is entered by identity, from storage_account_name."
  }
}

variable "slot" {
  description = "The staging slot: an identity, a storage account and settings of its own."
  type = object({
    identity_id          = string
    identity_client_id   = string
    storage_account_name = string
    config_dir           = optional(string, "config/slot")
    settings             = optional(map(string), {})
  })
  nullable = false

  validation {
    condition     = alltrue([for setting in keys(var.slot.settings) : !startswith(setting, "AzureWebJobsStorage")])
    error_message = "slot.settings must not hold AzureWebJobsStorage: the account is entered by identity, from storage_account_name."
  }

  validation {
    condition     = var.slot.storage_account_name != var.app.storage_account_name && var.slot.identity_id != var.app.identity_id
    error_message = "The slot must have a storage account and an identity of its own: otherwise it works production's messages."
  }
}

variable "platform_identity" {
  description = "The identity that pulls images and reads Key Vault references, for app and slot alike: a swap takes its name along."
  type = object({
    id        = string
    client_id = string
  })
  nullable = false
}

variable "slot_name" {
  description = "Name of the slot."
  type        = string
  default     = "staging"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}$", var.slot_name)) && var.slot_name != "production"
    error_message = "slot_name must be 2 to 19 lower-case letters, digits and hyphens, and not production."
  }
}

variable "app_subnet_id" {
  description = "Subnet, delegated to Microsoft.Web/serverFarms, through which everything goes out."
  type        = string
  nullable    = false
}

variable "private_endpoint" {
  description = "Where app and slot are entered from inside the network."
  type = object({
    subnet_id           = string
    private_dns_zone_id = string
  })
  nullable = false
}

variable "key_vault_uri" {
  description = "Address of the vault that holds app.secrets."
  type        = string
  nullable    = false
}

variable "application_insights" {
  description = "Connection strings of production's and of the slot's Application Insights."
  type = object({
    app  = string
    slot = string
  })
  nullable  = false
  sensitive = true
}

variable "gateway" {
  description = "Who stands in front of production. Front Door comes from outside, and is known by its id; API Management from inside the network."
  type = object({
    kind          = optional(string, "none")
    front_door_id = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["none", "front_door", "api_management"], var.gateway.kind)
    error_message = "gateway.kind must be none, front_door or api_management."
  }
}

variable "allowed_ip_ranges" {
  description = "Who may enter app and slot from outside the network, as CIDR; nobody without it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.allowed_ip_ranges : can(cidrhost(range, 0)) && !endswith(range, "/0")])
    error_message = "allowed_ip_ranges must be CIDR blocks such as 203.0.113.7/32, and not the whole Internet."
  }
}

variable "easy_auth" {
  description = "The app registration that people sign in with (docs/access.md); none without it."
  type = object({
    client_id = string
    tenant_id = string
  })
  default  = null
  nullable = true
}
