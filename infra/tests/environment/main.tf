# What an environment's file says, as a value that tests can take.
terraform {
  required_version = ">= 1.9"

  required_providers {
    terraform = {
      source = "terraform.io/builtin/terraform"
    }
  }
}

variable "text" {
  description = "The file."
  type        = string
  nullable    = false
}

output "values" {
  description = "Its variables."
  value       = provider::terraform::decode_tfvars(var.text)
}
