"""Leases and watches: what is ephemeral."""
