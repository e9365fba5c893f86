"""Decision Pipeline: events become judgments, blocks, releases and non-executions; a gate answers."""
