"""Pattern Record: what is remarkable in the snapshots of a source."""
