environment   = "dev"
cost_center   = "qts-dev"
address_space = "10.40.0.0/22"

plan_sku            = "EP1"
instances           = { always_ready = 1, maximum = 2 }
storage_replication = { main = "LRS", slot = "LRS", backup = "LRS" }

soft_delete_days          = 7
anchor_immutable_days     = 1
delete_protection_enabled = false # it is made and unmade

# GitHub's own runners push images here, by identity.
registry_sku = "Standard"

gateway        = "none"
retention_days = 30
daily_quota_gb = 1
alerts_enabled = false
