"""What the program is called, here and to other processes."""

NAMES = ("pachctl", "pachyderm-dagster")
DEV_LEASE = "dev"
"""Held by the `pachyderm-dagster dev` of a home."""


def completion_variable(name: str) -> str:
    """The environment variable in which a shell gives the program of that name the line that it wants completed."""
    return f"_{name.replace('-', '_').upper()}_COMPLETE"
