mock_resource "azurerm_container_registry" {
  defaults = {
    id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/qts-test-rg/providers/Microsoft.ContainerRegistry/registries/qtstestcra1b2c3"
    login_server = "qtstestcra1b2c3.azurecr.io"
  }
}
