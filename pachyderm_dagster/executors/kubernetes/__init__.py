"""Runs datums in pods (docs/design/0024)."""
