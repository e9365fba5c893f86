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

variable "address_space" {
  description = "Addresses of the network. A quarter each goes to the app, the private endpoints and the gateway; one is left over."
  type        = string
  default     = "10.40.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.address_space)) && can(regex("/(1[6-9]|2[0-4])$", var.address_space))
    error_message = "address_space must be an IPv4 CIDR block from /16 to /24, such as 10.40.0.0/24: the app needs 64 addresses to scale."
  }

  validation {
    condition     = can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", var.address_space))
    error_message = "address_space must be private (RFC 1918): 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
  }
}

variable "internet_ports" {
  description = "Ports on which sources and sinks are reached in the Internet: 443, and 587 where a sink sends e-mail. With none, only Azure's own sign-in and monitoring are."
  type        = set(string)
  default     = ["443"]
  nullable    = false

  validation {
    condition     = alltrue([for port in var.internet_ports : can(regex("^[1-9][0-9]{0,4}$", port)) && try(tonumber(port) <= 65535, false)])
    error_message = "internet_ports must be single ports from 1 to 65535, such as 443: no range and no *."
  }
}

variable "private_endpoint_clients" {
  description = "Who besides app and gateway may ask the private endpoints, as CIDR: a peered network with a runner, say."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.private_endpoint_clients : can(cidrnetmask(range)) && !endswith(range, "/0")])
    error_message = "private_endpoint_clients must be IPv4 CIDR blocks such as 10.50.0.0/24, and not the whole Internet."
  }
}
