"""What the program is called, here and to other processes."""

NAMES = ("pachctl", "pachyderm-dagster")
DEV_LEASE = "dev"
"""Held by the `pachyderm-dagster dev` of a home."""


def completion_variable(name: str) -> str:
    """The environment variable by which a shell asks the program of that name for completions."""
    return f"_{name.replace('-', '_').upper()}_COMPLETE"
