"""A folder of a Git repository as what a home is to hold: pipelines, repos and workflows (docs/design/0031)."""
