"""What the program is called."""

NAMES = ("pachctl", "pachyderm-dagster")


def completion_variable(name: str) -> str:
    """The environment variable by which a shell asks the program of that name for completions."""
    return f"_{name.replace('-', '_').upper()}_COMPLETE"
