"""The names of leases that more than one module holds or looks at: processes agree through them, so each is written once."""


def job_lease(job_key: int) -> str:
    """Held by whoever runs a job; `job_key` is its row."""
    return f"job/{job_key}"


def sensor_lease(project: str) -> str:
    """Held while a project's commit sensor ticks, so that others know that a daemon is up."""
    return f"sensor/{project}"
