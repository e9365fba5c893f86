"""What keeps the storage small and whole over years: packing of closed hours, and what else is swept."""
