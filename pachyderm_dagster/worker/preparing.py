"""What a worker does before its first datum: a place for user code, its secrets, the user that it runs as."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.storage.content import ContentReader
from pachyderm_dagster.worker.cgroups import end_groups
from pachyderm_dagster.worker.mounts import mount_secrets
from pachyderm_dagster.worker.protocol import WorkerSetup
from pachyderm_dagster.worker.sandbox import Sandbox, enter
from pachyderm_dagster.worker.source_folder import place_source
from pachyderm_dagster.worker.users import User, find_user


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where and as whom user code runs.

    Attributes:
        setup: as it was given, with what the user adds.
        user: None for the worker's own.
        obstacle: what keeps every datum from running.
    """

    setup: WorkerSetup
    sandbox: Sandbox
    user: User | None
    obstacle: ExecutionError | None


def prepare(setup: WorkerSetup, environment: Mapping[str, str]) -> Prepared:
    """Goes on in the child that `sandbox.enter` makes; `environment` is that of this process."""
    sandbox = enter(setup.scratch, in_memory=setup.memory_volume, at_end=lambda: end_groups(setup.cgroups))
    try:
        _mount_secrets(setup, sandbox)
        user = _take_user(setup, sandbox)
    except ExecutionError as error:
        return Prepared(setup, sandbox, None, error)
    return Prepared(setup if user is None else _for_user(setup, user, environment), sandbox, user, None)


def find_source(prepared: Prepared, reader: ContentReader) -> tuple[str, ExecutionError | None]:
    """Puts the source folder in its place: where user code finds it, empty without one, and what keeps every datum from running.

    Raises:
        PachydermError: the store does not give the files, or the disk is full.
    """
    if not prepared.setup.source_files or prepared.obstacle is not None:
        return "", prepared.obstacle
    try:
        return place_source(prepared.setup.source_files, prepared.sandbox, reader), None
    except ExecutionError as error:
        return "", error


def _mount_secrets(setup: WorkerSetup, sandbox: Sandbox) -> None:
    if setup.secret_files and sandbox.problem is not None:
        problem = f"secrets cannot be mounted at {', '.join(setup.secret_files)}: {sandbox.problem}; or give each an env_var instead of a mount_path"
        raise ExecutionError("secret-not-mounted", problem)
    mount_secrets(setup.secret_files)


def _take_user(setup: WorkerSetup, sandbox: Sandbox) -> User | None:
    """The user that user code runs as, whose groups this process has from now on; None for its own."""
    user = find_user(setup.user, own_id=os.geteuid()) if setup.user else None
    if user is not None:
        if sandbox.problem is not None:
            raise ExecutionError("user-invalid", f"transform.user {setup.user!r} cannot reach the files in {sandbox.root}: {sandbox.problem}")
        try:
            # Root needs none of its own.
            os.setgroups(user.groups)
        except OSError as error:
            problem = f"nobody can change to transform.user {setup.user!r} here: {error.strerror}; remove it, or run the jobs as root"
            raise ExecutionError("user-invalid", problem) from error
    return user


def _for_user(setup: WorkerSetup, user: User, environment: Mapping[str, str]) -> WorkerSetup:
    """The setup with the variables that name the user, where the pipeline has not set them; what is staged from now on can be read by others."""
    os.umask(0o022)
    named = {name: value for name, value in user.variables if setup.environment.get(name) == environment.get(name)}
    return msgspec.structs.replace(setup, environment={**setup.environment, **named})
