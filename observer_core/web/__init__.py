"""What answers on the port: health, metrics, the gate, and pushed snapshots."""
