environment   = "prod"
cost_center   = "qts-prod"
address_space = "10.42.0.0/22"

plan_sku               = "EP2"
instances              = { always_ready = 3, maximum = 10 }
zone_balancing_enabled = true
storage_replication    = { main = "ZRS", slot = "LRS", backup = "GRS" }

soft_delete_days          = 30
anchor_immutable_days     = 365
delete_protection_enabled = true

# Nobody pushes here: images are imported from staging's registry, by Azure itself.
registry_sku = "Premium"

gateway        = "front_door"
front_door_sku = "Premium_AzureFrontDoor"
retention_days = 365
daily_quota_gb = 10
alerts_enabled = true
