"""What the program is called."""

NAMES = ("pachctl", "pachyderm-dagster")
