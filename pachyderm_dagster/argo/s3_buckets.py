"""Buckets as files of Argo name them, of artifacts and of events: opened with the keys of their Secrets."""

import importlib
from typing import Any

from pachyderm_dagster.argo.parameters import KeyRef
from pachyderm_dagster.argo.secret_keys import Secrets, find_secret


def open_bucket(
    name: str, *, endpoint: str, region: str, insecure: bool, access_key: KeyRef | None, secret_key: KeyRef | None, secrets: Secrets
) -> tuple[Any, Any]:
    """The library `obstore`, and its store of a bucket.

    Args:
        endpoint: host and port; empty for Amazon's.
        insecure: whether it is reached without TLS.

    Raises:
        NotFoundError: `workflow-secret-not-found`.
    """
    # Imported by name because it takes a while, and few workflows and Sensors need it.
    module, stores = importlib.import_module("obstore"), importlib.import_module("obstore.store")
    given: dict[str, Any] = {
        "endpoint": f"{'http' if insecure else 'https'}://{endpoint}" if endpoint else None,
        "region": region or None,
        "access_key_id": find_secret(access_key, secrets),
        "secret_access_key": find_secret(secret_key, secrets),
    }
    settings = {name: value for name, value in given.items() if value is not None}
    return module, stores.S3Store(name, client_options={"allow_http": insecure}, **settings)


def bucket_failures() -> tuple[type[Exception], ...]:
    """What is raised when a bucket is not reached, or refuses."""
    return (importlib.import_module("obstore.exceptions").BaseError, OSError)


def failure_line(error: Exception) -> str:
    """What went wrong, without where in the library."""
    return str(error).strip().partition("\n")[0].rstrip(". ")
