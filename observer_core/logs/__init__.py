"""What happened, as JSON lines in files that never grow without bound and never hold a secret."""
