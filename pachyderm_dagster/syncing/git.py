"""Gets the files of a repository at a ref, by the program `git` with the user's own settings: keys, helpers for passwords, proxies."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError, NotFoundError, UnreachableError
from pachyderm_dagster.syncing.source import GitSource

_SECONDS = 600
_NOT_THERE = ("couldn't find remote ref", "not our ref", "no such remote ref", "unadvertised object", "invalid refspec")
# What tells git which repository it is in, when a hook of another one calls us.
_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")


class GitCache:
    """What was fetched of one source, so that the next time only what is new is. Only whoever holds the lease of the sync uses it.

    Args:
        folder: where it is kept; made when it is not there.
        environ: of the user: nobody is asked for a password.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        given = {name: value for name, value in environ.items() if name not in _OF_ANOTHER}
        self._environ = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **given, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

    def fetch(self, source: GitSource) -> str:
        """Gets what the ref is now; the commit's id.

        Raises:
            ExecutionError: `git-missing`, `git-failed`.
            NotFoundError: `git-ref-not-found`.
            UnreachableError: `git-unreachable`.
        """
        if not (self._folder / "HEAD").exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._run("init", "--quiet", "--bare", "--template=", str(self._folder))
        # A fetch that was killed leaves its locks, and nobody else fetches here.
        for lock in self._folder.rglob("*.lock"):
            lock.unlink(missing_ok=True)
        found = self._ask("--git-dir", str(self._folder), "fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--", source.url, source.ref)
        if found.returncode:
            raise _failure(source, found.stderr)
        return self._run("--git-dir", str(self._folder), "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}").strip()

    def write(self, commit: str, target: Path) -> None:
        """Writes the files of a commit that was fetched into a folder that is not there yet.

        Raises:
            ExecutionError: `git-missing`, `git-failed`.
        """
        target.mkdir(parents=True)
        index = {"GIT_INDEX_FILE": str(target.with_name(f"{target.name}.index"))}
        of_both = ("--git-dir", str(self._folder), "--work-tree", str(target))
        self._run(*of_both, "read-tree", commit, more=index)
        self._run(*of_both, "checkout-index", "--quiet", "--all", "--force", more=index)

    def _run(self, *words: str, more: Mapping[str, str] | None = None) -> str:
        found = self._ask(*words, more=more)
        if found.returncode:
            raise ExecutionError("git-failed", f"'git {' '.join(words)}' failed: {_said(found.stderr)}; look whether git works here")
        return found.stdout

    def _ask(self, *words: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        program = shutil.which("git", path=self._environ.get("PATH", os.defpath))
        if program is None:
            raise ExecutionError("git-missing", "the program 'git', which fetches what is declared, is not on this machine; install it")
        try:
            return subprocess.run(
                [program, *words],
                env={**self._environ, **(more or {})},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError("git-unreachable", f"git got no answer within {_SECONDS} s; look at the network, and try again") from error


def _failure(source: GitSource, said: str) -> ExecutionError | NotFoundError | UnreachableError:
    if any(words in said.lower() for words in _NOT_THERE):
        return NotFoundError("git-ref-not-found", f"{source.url} has no {source.ref!r}; name a branch, a tag, or the whole id of a commit that it gives")
    hint = "look at the address and at git's access to it: `git ls-remote` with the same address has to work without asking"
    return UnreachableError("git-unreachable", f"{source.url} cannot be fetched: {_said(said)}; {hint}")


def _said(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))), lines[-1] if lines else "git said nothing")
