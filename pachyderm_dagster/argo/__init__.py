"""Workflows of Argo: read, checked and run without a cluster. Knows no Dagster (docs/design/0028)."""
