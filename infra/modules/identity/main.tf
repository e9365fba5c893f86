resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name_prefix}-${var.purpose}-id"
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags
}

resource "azurerm_federated_identity_credential" "github" {
  for_each = try(var.github.subjects, {})

  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.this.id
  issuer                    = "https://token.actions.githubusercontent.com"
  audience                  = ["api://AzureADTokenExchange"]
  subject                   = "${var.github.subject_prefix}:${each.value}"
}
