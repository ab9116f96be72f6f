"""Leases, claims and word of changes: what is ephemeral."""
