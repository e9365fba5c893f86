"""What an auditor asks for: recomputation, explanation, ledger, permits, reconciliation."""
