"""Versioned data and incremental container pipelines for Dagster."""

__version__ = "0.1.0"
