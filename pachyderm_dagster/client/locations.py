"""`pfs://[project/]repo@ref/path`: how file system URLs name what references name."""

from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.references import parse_reference

PROTOCOL = "pfs"


@dataclass(frozen=True, slots=True)
class Location:
    """What a URL without its protocol names: everything, a project, or a file or directory of a commit.

    Attributes:
        project: None for everything.
        version: the commit as a reference with its project, `project/repo@ref`; None above repos.
        path: in the commit, `/` for all of it.
        prefix: the commit as it was written, which names that are given out begin with: callers compare them with what they asked for.
    """

    project: str | None
    version: str | None = None
    path: str = "/"
    prefix: str = ""

    @property
    def reference(self) -> str:
        """The file as a reference."""
        return f"{self.version}:{self.path}"

    def name(self, path: str) -> str:
        """What another path of the same commit is called."""
        return (self.prefix + path).rstrip("/")


def parse_location(text: str, *, project: str) -> Location:
    """Reads what is behind `pfs://`.

    The first element with an `@`, which is the first or the second, is `repo@ref`; one before it is the project. An element without an `@` that stands alone
    is a project, so that a repo is never named without a branch or a commit.

    Raises:
        InvalidError: `reference-invalid`, when a path has no `repo@ref` before it, or no commit can be named like that.
    """
    text = text.strip("/")
    if not text:
        return Location(None)
    first, _, rest = text.partition("/")
    if "@" in first:
        own, name = project, first
    elif not rest:
        return Location(first)
    else:
        own, (name, _, rest) = first, rest.partition("/")
        if "@" not in name:
            raise InvalidError("reference-invalid", f"{PROTOCOL}://{text} names no commit; write {PROTOCOL}://[project/]repo@branch/path, or repo@ with an id")
    version = f"{own}/{name}"
    parse_reference(version)
    return Location(own, version, f"/{rest}", name if "@" in first else version)
