"""The main job end to end, told as a reader would type it: train a model, score it, add data, and see what runs. `make demo` runs it.

    python definitions/demo.py [HOME]

HOME, `.demo` in the clone if it is not given, keeps everything. Where an earlier demo finished, the same files are put again, and nothing has to run.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[1]
STARTED, FINISHED = "demo-started", "demo-finished"
DATA = "definitions/digits/data"
SPECS = "definitions/digits/pipelines.yaml"
OF_OTHER_HOMES = ("PACHYDERM_", "DAGSTER_")
WIDTH = 100

Document = dict[str, Any]


class DemoFailed(Exception):
    """A command failed, or what it did is not what the demo says."""


class Reader:
    """The one who types: shows each command, runs it in the clone and lets its output through.

    Args:
        home: of the demo alone; settings of other homes are kept away from it.
    """

    def __init__(self, home: Path) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith(OF_OTHER_HOMES)}
        self._environment = {**own, "PACHYDERM_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
        self._colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def chapter(self, title: str, text: str) -> None:
        """Begins a part, with what it is about."""
        print(f"\n{self._styled('1', title)}\n{textwrap.fill(text, WIDTH)}\n", flush=True)

    def say(self, text: str) -> None:
        """Says what has happened."""
        print(f"\n{self._styled('32', textwrap.fill(text, WIDTH))}", flush=True)

    def type(self, command: str) -> None:
        """Runs a line of shell.

        Raises:
            DemoFailed: it exits with another status than 0.
        """
        print(self._styled("36", f"$ {command}"), flush=True)
        status = subprocess.run(command, shell=True, cwd=CLONE, env=self._environment, check=False).returncode
        if status:
            raise DemoFailed(f"the command above ended with exit status {status}")

    def ask(self, *words: str) -> list[Document]:
        """What a `pachctl` command that lists things knows, without showing it."""
        answer = subprocess.run(["pachctl", *words, "-o", "json"], cwd=CLONE, env=self._environment, check=False, stdout=subprocess.PIPE, text=True)
        if answer.returncode:
            raise DemoFailed(f"`pachctl {' '.join(words)}` ended with exit status {answer.returncode}")
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def _styled(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colored else text


def main(home: Path) -> int:
    """Plays the demo and returns its exit status."""
    home.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with alone_in(home):
            play(Reader(home), home)
    except DemoFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {shown(home)}; to see the graph, the versions and the runs in Dagster's UI:")
    print(f"\n    PACHYDERM_HOME={shown(home)} {shown(Path(sys.executable).parent)}/pachyderm-dagster dev\n")
    return 0


@contextlib.contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Keeps a second demo out of the home, which it would empty.

    Raises:
        DemoFailed: another one is in there.
    """
    folder = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DemoFailed(f"another demo is running in {shown(home)}; wait for its end") from error
    finally:
        os.close(folder)


def play(reader: Reader, home: Path) -> None:
    """The first demo in a home, or one more."""
    if (home / FINISHED).exists():
        try:
            play_again(reader)
        except DemoFailed as error:
            raise DemoFailed(f"{error}; to begin from nothing: rm -r {shown(home)}") from error
        return
    if (home / STARTED).exists():
        print(f"An earlier demo did not come to its end; {shown(home)} is emptied.")
        for entry in home.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    elif any(home.iterdir()):
        raise DemoFailed(f"{shown(home)} holds something that is no demo's; name a folder that is empty or does not exist")
    (home / STARTED).touch()
    play_first(reader)
    (home / FINISHED).touch()


def play_first(reader: Reader) -> None:
    """From an empty home to a scored model, and one test file more."""
    reader.chapter(
        "1. Data",
        "Handwritten digits of 8 × 8 pixels: 1,197 to learn from, three batches of 150 to be tested with. They go into repos: folders that keep every version.",
    )
    reader.type("pachctl create repo training -d 'digits to learn from'")
    reader.type("pachctl create repo test -d 'digits to be tested with, a batch a file'")
    reader.type(f"pachctl put file training@master -r -f {DATA}/training")
    reader.type(f"pachctl put file test@master -f {DATA}/test/batch-1.csv -f {DATA}/test/batch-2.csv -f {DATA}/test/batch-3.csv")

    reader.chapter(
        "2. Pipelines",
        "Two commands with inputs: `model` learns from all of `training`; `score` tests that model with each file of `test` on its own. They run at once.",
    )
    reader.type(f'sed "s|/usr/local/bin/python|$(command -v python)|; s|/code|$PWD/definitions/digits|" {SPECS} | pachctl create pipeline -f -')
    reader.type("pachctl wait commit score@master")

    reader.chapter("3. Result", "Each pipeline wrote a version of the repo of its name.")
    reader.type("pachctl list repo")
    reader.type("pachctl list commit -x")
    reader.type("pachctl list job -x")
    reader.type("pachctl logs --pipeline model")
    reader.type("pachctl logs --pipeline score")
    reader.type("pachctl list file score@master")

    reader.chapter("4. One test file more", "A commit makes jobs for everything downstream of it, and those work on what is new.")
    before = reader.ask("list", "job")
    reader.type(f"pachctl put file test@master -f {DATA}/test/batch-4.csv")
    reader.type("pachctl wait commit score@master")
    reader.type("pachctl list job -x")
    reader.type("pachctl get file score@master:/batch-4.json | head -n 4")
    expect(new_jobs(before, reader.ask("list", "job")), {"score": (4, 1, 3)})
    reader.say("`model` got no job: nothing that it learns from has changed. `score` worked on the new file alone and kept its results for the other three.")


def play_again(reader: Reader) -> None:
    """The same files once more: new commits, and jobs that have nothing to do."""
    reader.chapter(
        "The same files again",
        "This home has seen the demo. Putting the same files makes new commits, and jobs for everything downstream of them.",
    )
    before = reader.ask("list", "job")
    reader.type(f"pachctl put file training@master -r -f {DATA}/training")
    reader.type(f"pachctl put file test@master -r -f {DATA}/test")
    reader.type("pachctl flush commit training@master test@master")
    reader.type("pachctl list job -x -n 3")
    new = new_jobs(before, reader.ask("list", "job"))
    total, skipped = (sum(job[counter] for job in new) for counter in ("data_total", "data_skipped"))
    if skipped < total:
        raise DemoFailed(f"{total - skipped} of {total} datums ran: the files are not those of the demo before")
    reader.say(f"So nothing ran again: {len(new)} new jobs with {total} datums in all, each of which is what it was and was skipped.")


def new_jobs(before: Sequence[Document], now: Sequence[Document]) -> list[Document]:
    """The jobs that were not there before."""
    known = {(job["pipeline"], job["id"]) for job in before}
    return [job for job in now if (job["pipeline"], job["id"]) not in known]


def expect(jobs: Sequence[Document], counts: dict[str, tuple[int, int, int]]) -> None:
    """Checks what the demo says next.

    Raises:
        DemoFailed: there are not exactly the jobs of `counts`, with as many datums in all, processed and skipped.
    """
    found = {job["pipeline"]: (job["data_total"], job["data_processed"], job["data_skipped"]) for job in jobs}
    if found != counts or any(job["state"] != "SUCCESS" for job in jobs):
        raise DemoFailed(f"expected jobs with (total, processed, skipped) datums {counts}, found {found}")


def shown(path: Path) -> str:
    """The path as it is typed in the clone."""
    return str(path.relative_to(CLONE) if path.is_relative_to(CLONE) else path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute() if sys.argv[1:] else CLONE / ".demo"))
