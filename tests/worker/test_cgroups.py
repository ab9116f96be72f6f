"""Control groups: where they may be, what goes into them, and datums that ran out of memory. The kernel's folder is a plain one here."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pachyderm_dagster.executors import limit_groups, worker_process
from pachyderm_dagster.executors.limit_groups import limits_problem, make_group, remove_group
from pachyderm_dagster.pps.pods import quantity_value
from pachyderm_dagster.worker.cgroups import Limits, Parent, count_oom_kills, find_parent, find_problem, limit_files
from tests.worker.running import Place

ORDINARY = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
OLD = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
SLICE = "/user.slice/user-1000.slice/user@1000.service/app.slice"
LIMITS = Limits(memory=512 << 20, cpu=0.5)


def reading(**files: str) -> Callable[[str], str | None]:
    """Control groups with these controllers for those below, by path."""
    return lambda path: files.get(path.removeprefix("/sys/fs/cgroup").removesuffix("/cgroup.subtree_control"))


def test_groups_of_a_users_program_are_beside_its_own() -> None:
    found = find_parent(ORDINARY, f"0::{SLICE}/run-1.scope\n", reading(**{SLICE: "cpu memory pids\n"}), lambda _: True)
    assert found == Parent(f"/sys/fs/cgroup{SLICE}", frozenset({"cpu", "memory", "pids"}))
    assert find_problem(LIMITS, found) is None


def test_in_the_root_group_they_are_below_it() -> None:
    found = find_parent(ORDINARY, "0::/\n", reading(**{"": "memory"}), lambda _: True)
    assert found == Parent("/sys/fs/cgroup", frozenset({"memory"}))
    assert find_problem(Limits(memory=1), found) is None
    assert str(find_problem(LIMITS, found)).startswith("the control group /sys/fs/cgroup does not give cpu to those below it; start it with `systemd-run")


def test_group_of_a_container_is_found_below_what_is_mounted() -> None:
    mounted = ORDINARY.replace(" / /sys", " /machine/box /sys")
    found = find_parent(mounted, "0::/machine/box/inner/job\n", reading(**{"/inner": "memory"}), lambda _: True)
    assert found == Parent("/sys/fs/cgroup/inner", frozenset({"memory"}))


@pytest.mark.parametrize(
    ("mounts", "membership", "controllers", "writable", "problem"),
    [
        (OLD, "4:memory:/x\n", "", True, "this machine has no control groups of version 2"),
        (f"{OLD}\n{ORDINARY}", "0::/a/b\n", "pids", True, "the control group /sys/fs/cgroup/a gives neither memory nor cpu to those below it; start it"),
        (ORDINARY, "0::/a/b\n", "memory cpu", False, "the control group /sys/fs/cgroup/a belongs to somebody else; start it with `systemd-run --user --scope`"),
    ],
)
def test_why_they_cannot_be_is_said(mounts: str, membership: str, controllers: str, writable: bool, problem: str) -> None:
    found = find_parent(mounts, membership, reading(**{"/a": controllers}), lambda _: writable)
    assert isinstance(found, str)
    assert found.startswith(problem)
    assert find_problem(LIMITS, found) == found


def test_limits_become_the_kernels_words() -> None:
    assert limit_files(LIMITS) == {"memory.max": "536870912", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "50000 100000"}
    assert limit_files(Limits(cpu=0.001)) == {"cpu.max": "1000 100000"}
    assert limit_files(Limits(memory=1)).keys() == {"memory.max", "memory.swap.max", "memory.oom.group"}


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("512Mi", 512 << 20), ("2G", 2e9), ("1e9", 1e9), ("1.5Ki", 1536), ("500m", 0.5), (".5E", 5e17), ("+3", 3), ("1E3", 1000)]
)
def test_quantities_are_numbers(text: str, value: float) -> None:
    assert quantity_value(text) == pytest.approx(value)


def test_group_is_made_with_its_limits_and_those_of_executors_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_groups, "_write", lambda path, value: Path(path).write_text(value))
    (tmp_path / "pachyderm-1-1-1").mkdir()
    (tmp_path / "somebody-1-1-1").mkdir()
    parent = Parent(str(tmp_path), LIMITS.controllers)
    first, second = Path(make_group(LIMITS, parent, 1)), Path(make_group(LIMITS, parent, 2))
    assert {file.name: file.read_text() for file in first.iterdir()} == limit_files(LIMITS)
    assert sorted(tmp_path.iterdir()) == sorted([first, second, tmp_path / "somebody-1-1-1"])
    # The kernel's files go with a group; a plain folder must be emptied.
    for file in first.iterdir():
        file.unlink()
    remove_group(str(first))
    assert not first.exists()


def test_kills_for_want_of_memory_are_counted(tmp_path: Path) -> None:
    assert count_oom_kills(str(tmp_path)) == 0
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n")
    assert count_oom_kills(str(tmp_path)) == 2


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel would have made for the worker that comes."""
    folder = tmp_path / "group"

    def make(limits: Limits, parent: Parent, number: int) -> str:
        folder.mkdir()
        (folder / "cgroup.procs").touch()
        (folder / "memory.events").write_text("oom_kill 0\n")
        return str(folder)

    monkeypatch.setattr(worker_process, "parent_here", lambda: Parent(str(tmp_path), LIMITS.controllers))
    monkeypatch.setattr(worker_process, "make_group", make)
    return folder


def test_user_code_enters_the_group_before_it_begins(tmp_path: Path, group: Path) -> None:
    ran = Place(tmp_path).run_one("sh", "-c", f"cat {group}/cgroup.procs", limits=Limits(memory=1000))
    assert (ran.state, ran.log) == ("SUCCESS", "0")


def test_datum_that_the_kernel_ended_for_its_memory_says_so(tmp_path: Path, group: Path) -> None:
    script = f"echo oom_kill 1 > {group}/memory.events; kill -9 $$"
    ran = Place(tmp_path).run_one("sh", "-c", script, limits=Limits(memory=1000), datum_tries=1)
    assert ran.state == "FAILED"
    assert ran.reason.startswith("the code wanted more memory than resource_limits.memory gives it, 1000 bytes, and was ended by the kernel")
    assert ran.reason.endswith("[out-of-memory]")


def test_other_failures_under_a_limit_are_what_they_are(tmp_path: Path, group: Path) -> None:
    ran = Place(tmp_path).run_one("sh", "-c", "exit 3", limits=Limits(memory=1000), datum_tries=1)
    assert ran.reason.endswith("[command-failed]")


def test_command_that_cannot_enter_its_group_says_why(tmp_path: Path, group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "make_group", lambda *_: f"{tmp_path}/gone")
    ran = Place(tmp_path).run_one("true", limits=Limits(cpu=1.0), datum_tries=1)
    assert ran.state == "FAILED"
    problem = f"the code cannot be held to its resource_limits: it cannot enter {tmp_path}/gone: No such file or directory"
    assert ran.reason == f"{problem}; run the job again, or remove the limits [limits-not-set]"


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_this_machine_says_whether_limits_are_kept() -> None:
    problem = limits_problem(LIMITS)
    assert problem is None or "control group" in problem
    assert limits_problem(None) is None
