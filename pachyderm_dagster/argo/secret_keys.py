"""Values of Secrets, which stand in the files of a workflow."""

from collections.abc import Mapping

from pachyderm_dagster.argo.parameters import KeyRef
from pachyderm_dagster.errors import NotFoundError

Secrets = Mapping[str, Mapping[str, str]]


def find_secret(reference: KeyRef | None, secrets: Secrets) -> str | None:
    """The value of a key; None without a reference, and of one that may be missing.

    Raises:
        NotFoundError: `workflow-secret-not-found`.
    """
    if reference is None:
        return None
    found = secrets.get(reference.name, {}).get(reference.key)
    if found is None and not reference.optional:
        message = f"{reference.key!r} of the Secret {reference.name!r} is in none of the files; give the file that it is in too"
        raise NotFoundError("workflow-secret-not-found", message)
    return found
