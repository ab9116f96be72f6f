"""User code that runs as another user, and files of datums in memory."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.users import find_user
from tests.worker.running import Place, unprivileged

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@root_only
@pytest.mark.parametrize("name", ["nobody", "65534"])
def test_user_code_runs_as_the_user_and_no_more(place: Place, name: str) -> None:
    script = 'id -u; id -G; cat "$data" > /pfs/out/f; mkdir /pfs/out/d; echo x > /pfs/out/d/g; chmod 000 /pfs/out/d; echo y > /dev/stdout'
    ran = place.run_one("sh", "-c", f"{script}; touch /etc/passwd || true", inputs={"data": {"/f": b"content"}}, user=name)
    assert (ran.state, ran.outputs) == ("SUCCESS", {"/f": "content", "/d/g": "x\n"}), ran
    assert ran.log.split()[:3] == ["65534", "65534", "y"]
    assert ran.log.rstrip().endswith("Permission denied")


@root_only
@pytest.mark.parametrize("groups", ["root:root", "root:nogroup"])
def test_link_to_what_the_user_cannot_read_is_no_output(place: Place, groups: str) -> None:
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        private = Path(shared, "private")
        private.write_text("private")
        shutil.chown(private, *groups.split(":"))
        private.chmod(0o640)
        ran = place.run_one("ln", "-s", str(private), "/pfs/out/link", user="nobody")
    if groups == "root:nogroup":
        assert (ran.state, ran.outputs) == ("SUCCESS", {"/link": "private"})
    else:
        assert (ran.state, ran.outputs) == ("FAILED", {})
        assert ran.reason.endswith("cannot be copied: Permission denied [output-unreadable]")


@root_only
def test_number_without_a_name_is_a_user(place: Place) -> None:
    ran = place.run_one("sh", "-c", "id -u; id -g; echo $HOME", user="4321")
    assert ran.log == "4321\n4321\n/\n"


@root_only
def test_every_datum_and_every_try_may_write_its_output(place: Place) -> None:
    tasks = [place.task(index, {"data": {"/f": b"%d" % index}}) for index in range(3)]
    # Only what everybody may enter is seen by both tries.
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o777)
        script = f"cp /pfs/data/f /pfs/out/; mkdir {shared}/$(cat /pfs/data/f) 2> /dev/null && exit 1; true"
        results = place.run("sh", "-c", script, tasks=tasks, user="nobody")
    assert [(ran.state, ran.tries, ran.outputs) for ran in results] == [("SUCCESS", 2, {"/f": str(index)}) for index in range(3)]


@root_only
def test_missing_program_of_another_user_is_named(place: Place, tmp_path: Path) -> None:
    program = tmp_path / "secret-program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    ran = place.run_one(str(program), user="nobody")
    assert (ran.state, ran.tries) == ("FAILED", 0)
    assert "cannot be run: Permission denied" in ran.reason


def test_user_that_does_not_exist_fails_the_datums(place: Place) -> None:
    ran = place.run_one("true", user="no-such-user")
    assert (ran.state, ran.tries) == ("FAILED", 0)
    assert ran.reason == "transform.user 'no-such-user' does not exist on this machine; name one of its users, or a number [user-invalid]"


def test_own_user_needs_nothing() -> None:
    assert find_user(str(os.geteuid()), own_id=os.geteuid()) is None


def test_ordinary_user_cannot_become_another() -> None:
    with pytest.raises(ExecutionError, match="only root may change to it"):
        find_user("0", own_id=1000)


@pytest.mark.parametrize("prefix", [list, unprivileged])
def test_files_are_in_memory_where_that_is_asked_for(place: Place, prefix: "type[list[str]]") -> None:
    script = "stat -f -c %T /pfs/out; cp /pfs/data/f /pfs/out/"
    done = place.run_elsewhere(prefix(), "sh", "-c", script, inputs={"data": {"/f": b"content"}}, memory_volume=True)
    assert (done.ran.state, done.ran.log, done.ran.outputs) == ("SUCCESS", "tmpfs\n", {"/f": "content"})
