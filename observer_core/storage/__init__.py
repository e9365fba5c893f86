"""Where bytes and rows live: ports, their adapters, and the journal built on them."""
