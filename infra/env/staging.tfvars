environment   = "staging"
cost_center   = "qts-staging"
address_space = "10.41.0.0/22"

plan_sku            = "EP1"
instances           = { always_ready = 1, maximum = 3 }
storage_replication = { main = "ZRS", slot = "LRS", backup = "ZRS" }

soft_delete_days          = 14
anchor_immutable_days     = 7
delete_protection_enabled = true

# GitHub's own runners push images here, by identity.
registry_sku = "Standard"

gateway        = "front_door"
front_door_sku = "Standard_AzureFrontDoor"
retention_days = 30
daily_quota_gb = 2
alerts_enabled = true
