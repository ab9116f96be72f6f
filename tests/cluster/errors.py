"""What goes wrong with a cluster for tests."""


class ClusterError(Exception):
    """Its message says what, what was found and the next step."""
