"""Commands of older Pachyderm versions that do not exist here: each answers with what to use."""

from dataclasses import dataclass

import click

from pachyderm_dagster.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Gone:
    """A command that is refused."""

    instead: str
    """What to do instead, after a semicolon."""

    @property
    def help(self) -> str:
        """That it does not exist."""
        return f"Not here; {self.instead}."

    def command(self) -> click.Command:
        """Takes any arguments, and refuses.

        Raises (when called):
            InvalidError: `command-gone`.
        """

        def refuse(words: tuple[str, ...]) -> None:
            raise InvalidError("command-gone", f"'{click.get_current_context().command_path}' does not exist here; {self.instead}")

        arguments = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
        settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
        return click.Command(None, callback=refuse, params=[arguments], context_settings=settings, help=self.help)


_FUSE = "`pachctl get file -r REPO@BRANCH:/ -o FOLDER` copies the files"

_SNAPSHOT = "`pachctl extract -o FOLDER` keeps a copy of the whole home and brings it up to date, and `pachctl restore` makes a home of it"
_MEASURE = "`make bench` in a clone measures this program"
_ACCOUNTS = "there are no accounts and no licences: who may read and write the home, and the record and bucket that it names, may do everything"
_LOOK = "`pachctl logs` shows what user code said, and `tracebacks/` in the home keeps errors that nobody foresaw"

GONE = {
    "auth": Gone(_ACCOUNTS),
    "license": Gone(_ACCOUNTS),
    "enterprise": Gone(_ACCOUNTS),
    "idp": Gone(_ACCOUNTS),
    "connect": Gone("PACHYDERM_HOME chooses a home, PACHYDERM_METADATA_URL and PACHYDERM_STORAGE_URL a record and a store elsewhere"),
    "shell": Gone("`pachctl completion bash` lets your own shell complete commands and names"),
    "exit": Gone("there is no shell to leave"),
    "buildinfo": Gone("`pachctl version` shows the version"),
    "debug": Gone(_LOOK),
    "kube-events": Gone(_LOOK),
    "loki": Gone(_LOOK),
    "misc": Gone("it looks into Pachyderm's own servers, and there are none; `pachctl fsck` checks a home, `pachctl config` shows its settings"),
    "get-object": Gone("`pachctl get file REPO@REF:/PATH` reads a file"),
    "get-tag": Gone("`pachctl get file REPO@REF:/PATH` reads a file"),
    "update-dash": Gone("`pachyderm-dagster dev` starts the UI of the version that is installed"),
    "port-forward": Gone("`pachyderm-dagster dev` prints the address of the UI"),
    "run-pipeline": Gone("`pachctl run pipeline NAME REPO@ID` makes a job for chosen commits of the inputs"),
    "flush-job": Gone("`pachctl wait job PIPELINE@ID` waits for a job, `pachctl wait job ID` for all jobs of a set"),
    "mount": Gone(_FUSE),
    "unmount": Gone(_FUSE),
}
GONE_NOUNS = {
    ("flush", "job"): GONE["flush-job"],
    **{(verb, "snapshot"): Gone(_SNAPSHOT) for verb in ("create", "list", "inspect", "delete")},
    ("list", "task"): Gone("`pachctl list job` shows what runs, `pachctl list datum PIPELINE@ID` how far its datums are"),
    ("run", "pfs-load-test"): Gone(_MEASURE),
    ("run", "pps-load-test"): Gone(_MEASURE),
    ("restart", "cluster"): Gone("nothing runs but `pachyderm-dagster dev`: end it with Ctrl-C and start it again"),
}
_CONTEXT = "a context is a home folder: PACHYDERM_HOME chooses it, `pachctl config update context --project NAME` its active project"
GONE_CONFIG = {
    "delete": {"context": Gone(_CONTEXT)},
    "get": {"metrics": Gone("nothing is measured or sent anywhere"), "active-enterprise-context": Gone(_CONTEXT)},
    "set": {"metrics": Gone("nothing is measured or sent anywhere"), "context": Gone(_CONTEXT), "active-enterprise-context": Gone(_CONTEXT)},
}
"""Commands below `config`, by verb and noun."""
