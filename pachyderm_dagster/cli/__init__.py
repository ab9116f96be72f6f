"""The command line, pachctl and pachyderm-dagster."""
