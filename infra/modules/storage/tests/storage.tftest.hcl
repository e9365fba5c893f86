mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  name_prefix         = "qts-test"
  location            = "koreacentral"
  resource_group_name = "qts-test-rg"
  tags                = { environment = "dev", project = "qts", managed_by = "terraform", cost_center = "research" }
  purpose             = "main"
  account_name_suffix = "a1b2c3"
  network = {
    private_endpoint_subnet_id = "/subnets/private-endpoints"
    private_dns_zone_ids       = { blob = "/zones/blob", queue = "/zones/queue", table = "/zones/table", sites = "/zones/sites" }
  }
}

run "nothing_is_open_and_no_key_is_used" {
  assert {
    condition = !azurerm_storage_account.this.shared_access_key_enabled && azurerm_storage_account.this.default_to_oauth_authentication && (
    !azurerm_storage_account.this.local_user_enabled && !azurerm_storage_account.this.sftp_enabled)
    error_message = "the account must be entered by identity alone: no keys, no local users, no SFTP"
  }
  assert {
    condition = !azurerm_storage_account.this.public_network_access_enabled && !azurerm_storage_account.this.allow_nested_items_to_be_public && (
      azurerm_storage_account.this.network_rules[0].default_action == "Deny" && azurerm_storage_account.this.network_rules[0].bypass == toset(["None"]) &&
    length(azurerm_storage_account.this.network_rules[0].ip_rules) == 0)
    error_message = "nothing may be reached from outside, and nobody pass by"
  }
  assert {
    condition = azurerm_storage_account.this.https_traffic_only_enabled && azurerm_storage_account.this.min_tls_version == "TLS1_2" && (
    azurerm_storage_account.this.infrastructure_encryption_enabled)
    error_message = "HTTPS with TLS 1.2, and encrypted twice"
  }
  assert {
    condition     = !azurerm_storage_account.this.cross_tenant_replication_enabled && azurerm_storage_account.this.allowed_copy_scope == "AAD"
    error_message = "nothing may be copied to another tenant"
  }
}

run "what_was_removed_can_be_brought_back" {
  assert {
    condition = azurerm_storage_account.this.blob_properties[0].versioning_enabled && azurerm_storage_account.this.blob_properties[0].change_feed_enabled && (
      azurerm_storage_account.this.blob_properties[0].delete_retention_policy[0].days == 30 &&
      !azurerm_storage_account.this.blob_properties[0].delete_retention_policy[0].permanent_delete_enabled &&
    azurerm_storage_account.this.blob_properties[0].container_delete_retention_policy[0].days == 30)
    error_message = "versions, changes, and 30 days for blobs and containers"
  }
}

run "no_rule_touches_what_is_there_now" {
  assert {
    condition     = [for rule in azurerm_storage_management_policy.this.rule : rule.name] == ["previous-versions"]
    error_message = "journals must have one rule, for previous versions"
  }
  assert {
    condition = alltrue([for rule in azurerm_storage_management_policy.this.rule : length(rule.actions[0].base_blob) == 0 &&
    rule.actions[0].version[0].delete_after_days_since_creation == 7 && rule.actions[0].snapshot[0].delete_after_days_since_creation_greater_than == 7])
    error_message = "only versions and snapshots may go, and nothing be moved"
  }
}

run "entered_from_inside" {
  assert {
    condition = { for name, endpoint in azurerm_private_endpoint.this : name => [
      one(endpoint.private_service_connection[0].subresource_names), one(endpoint.private_dns_zone_group[0].private_dns_zone_ids), endpoint.subnet_id, endpoint.name,
      ] } == {
      blob  = ["blob", "/zones/blob", "/subnets/private-endpoints", "qtsteststa1b2c3-blob-pe"]
      queue = ["queue", "/zones/queue", "/subnets/private-endpoints", "qtsteststa1b2c3-queue-pe"]
      table = ["table", "/zones/table", "/subnets/private-endpoints", "qtsteststa1b2c3-table-pe"]
    }
    error_message = "blob, queue and table must each have a private endpoint, with its name in its own zone"
  }
}

run "named_and_tagged" {
  assert {
    condition     = output.name == "qtsteststa1b2c3" && azurerm_storage_account.this.tags == tomap(merge(var.tags, { purpose = "main" }))
    error_message = "the name is of prefix, purpose and suffix; tags say the purpose, too"
  }
  assert {
    condition     = output.blob_endpoint == "https://qtsteststa1b2c3.blob.core.windows.net/" && output.queue_endpoint == "https://qtsteststa1b2c3.queue.core.windows.net/" && output.table_endpoint == "https://qtsteststa1b2c3.table.core.windows.net/"
    error_message = "each address must be of its own service"
  }
  assert {
    condition     = length(azurerm_storage_container.this) == 0
    error_message = "the Observer makes its own containers"
  }
}

run "backups_and_anchors" {
  variables {
    purpose     = "backup"
    replication = "GRS"
    containers  = { backups = {}, anchors = { immutable_days = 365 }, kept = { immutable_days = 30, locked = true } }
    aging       = { cool_backups_days = 30 }
  }
  assert {
    condition     = output.name == "qtstestbka1b2c3" && azurerm_storage_account.this.account_replication_type == "GRS"
    error_message = "backups must lie in an account of their own"
  }
  assert {
    condition     = alltrue([for container in azurerm_storage_container.this : container.container_access_type == "private"]) && keys(output.container_ids) == ["anchors", "backups", "kept"]
    error_message = "containers must be private, and all be told of"
  }
  assert {
    condition     = { for name, policy in azurerm_storage_container_immutability_policy.this : name => [policy.immutability_period_in_days, policy.locked] } == { anchors = [365, false], kept = [30, true] }
    error_message = "only containers with immutable_days may be immutable, and be locked only when asked"
  }
  assert {
    condition     = alltrue([for policy in azurerm_storage_container_immutability_policy.this : policy.protected_append_writes_enabled && !policy.protected_append_writes_all_enabled])
    error_message = "anchors must be able to be appended to, and nothing else"
  }
  assert {
    condition = [for rule in azurerm_storage_management_policy.this.rule : [rule.filters[0].prefix_match, rule.actions[0].base_blob[0].tier_to_cool_after_days_since_modification_greater_than]
    if rule.name == "cool-backups"] == [[toset(["backups/objects/"]), 30]]
    error_message = "only the contents of backups may become cool"
  }
  assert {
    condition = alltrue([for rule in azurerm_storage_management_policy.this.rule : alltrue([for action in rule.actions[0].base_blob :
      action.delete_after_days_since_modification_greater_than == null && action.delete_after_days_since_creation_greater_than == null &&
    action.tier_to_archive_after_days_since_modification_greater_than == null])])
    error_message = "no backup may be removed or archived by a rule"
  }
}

run "from_outside_only_who_is_named" {
  variables {
    network                       = null
    public_network_access_enabled = true
    allowed_ip_ranges             = ["203.0.113.7/32", "198.51.100.0/24"]
  }
  assert {
    condition     = azurerm_storage_account.this.network_rules[0].default_action == "Deny" && azurerm_storage_account.this.network_rules[0].ip_rules == toset(["203.0.113.7", "198.51.100.0/24"])
    error_message = "public access must be for the named addresses alone, a single one without /32"
  }
  assert {
    condition     = length(azurerm_private_endpoint.this) == 0
    error_message = "without a network there is no private endpoint"
  }
}

run "bad_input_is_refused" {
  command = plan
  variables {
    name_prefix       = "qts_test"
    location          = "Korea Central"
    purpose           = "archive"
    replication       = "lrs"
    soft_delete_days  = 1
    containers        = { Anchors = {} }
    allowed_ip_ranges = ["0.0.0.0/0"]
  }
  expect_failures = [
    var.name_prefix, var.location, var.purpose, var.replication, var.soft_delete_days, var.containers, var.allowed_ip_ranges,
  ]
}

run "a_bad_suffix_and_no_day_are_refused" {
  command = plan
  variables {
    account_name_suffix = "A1"
    aging               = { previous_versions_days = 0 }
  }
  expect_failures = [var.account_name_suffix, var.aging]
}

run "long_names_are_refused" {
  command = plan
  variables {
    name_prefix         = "quantitative-staging"
    account_name_suffix = "a1b2c3"
  }
  expect_failures = [var.account_name_suffix]
}

run "immutable_backups_are_refused" {
  command = plan
  variables {
    purpose    = "backup"
    containers = { backups = { immutable_days = 30 } }
  }
  expect_failures = [var.containers]
}

run "a_lock_without_days_is_refused" {
  command = plan
  variables {
    containers = { anchors = { locked = true } }
  }
  expect_failures = [var.containers]
}

run "half_a_day_is_refused" {
  command = plan
  variables {
    containers = { anchors = { immutable_days = 0.5 } }
  }
  expect_failures = [var.containers]
}

run "journals_are_never_moved" {
  command = plan
  variables {
    aging = { cool_backups_days = 30 }
  }
  expect_failures = [var.aging]
}

run "versions_forever_are_refused" {
  command = plan
  variables {
    aging = { previous_versions_days = null, change_feed_days = 146001 }
  }
  expect_failures = [var.aging]
}

run "nobody_could_get_in" {
  command = plan
  variables {
    network = null
  }
  expect_failures = [var.public_network_access_enabled]
}

run "addresses_without_public_access_are_refused" {
  command = plan
  variables {
    allowed_ip_ranges = ["203.0.113.7/32"]
  }
  expect_failures = [var.allowed_ip_ranges]
}

run "a_zone_that_is_missing_is_refused" {
  command = plan
  variables {
    network = { private_endpoint_subnet_id = "/subnets/private-endpoints", private_dns_zone_ids = { blob = "/zones/blob" } }
  }
  expect_failures = [var.network]
}
