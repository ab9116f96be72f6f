"""Nodes of workflows as pods of a cluster (docs/design/0034)."""
