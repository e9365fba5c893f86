mock_resource "azurerm_key_vault" {
  defaults = {
    id        = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.KeyVault/vaults/qtstestkva1b2c3"
    vault_uri = "https://qtstestkva1b2c3.vault.azure.net/"
  }
}
