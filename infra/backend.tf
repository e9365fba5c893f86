# Where the state lies is said by env/ENVIRONMENT.azurerm.tfbackend, and by whom it is entered by the environment (ARM_*).
terraform {
  backend "azurerm" {}
}
