"""The names of leases that more than one module holds or looks at: processes agree through them, so each is written once."""

DECLARED_LEASE = "declared-pipelines"
"""Held while the pipelines that a Dagster project declares are made."""
PREPARING_LEASE = "preparing"
"""Held while a process makes Dagster's databases."""


def job_lease(job_key: int) -> str:
    """Held by whoever runs a job; `job_key` is its row."""
    return f"job/{job_key}"


def run_lease(run_id: str) -> str:
    """Held for a Dagster run, in its own name, by every process that is at a step of it: between jobs, and while Dagster is told of them, too."""
    return f"run/{run_id}"


def set_lease(set_id: str) -> str:
    """Held by a command line, or by what reacts to commits, as long as it runs a commit set in its own process and has not told Dagster of it."""
    return f"set/{set_id}"


def reactor_lease(project: str) -> str:
    """Held while something reacts to a project's commits at once, so that its commit sensor leaves it what has just become due."""
    return f"reactor/{project}"


def process_lease(pipeline_key: int) -> str:
    """Held by whoever keeps the process of a service or spout; `pipeline_key` is the pipeline's row."""
    return f"process/{pipeline_key}"


def asked_lease(project: str) -> str:
    """Held for some seconds after a project's commit sensor asked for runs, which the daemon is about to make."""
    return f"asked/{project}"


def request_lease(project: str) -> str:
    """Held while somebody decides which sets of a project become runs, or makes a set for a run that exists already."""
    return f"requests/{project}"


def sensor_lease(project: str) -> str:
    """Held while a project's commit sensor ticks, and longer than two ticks may be apart, so that others know that a daemon is up."""
    return f"sensor/{project}"


def executor_lease(project: str) -> str:
    """Held in the name of the executor by which a project's daemon runs jobs, for long after its last tick, so that nobody runs them by another one."""
    return f"executor/{project}"


def unloaded_lease(project: str, pipeline: str) -> str:
    """Held by a project's commit sensor while a pipeline has work to do that its code location does not know, so that others can say so."""
    return f"unloaded/{project}/{pipeline}"


def followed_lease(project: str, pipeline: str) -> str:
    """Held by the `dev pipeline` that makes the versions of a pipeline, which may not exist yet."""
    return f"dev-pipeline/{project}/{pipeline}"


def sync_lease(name: str) -> str:
    """Held while a home is made like a folder of a Git repository."""
    return f"sync/{name}"
