"""The Dagster side: assets, sensors, resources."""
