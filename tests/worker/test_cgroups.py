"""Control groups: where they may be, what goes into them, and datums that ran out of memory. The kernel's folder is a plain one here."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pachyderm_dagster.executors import limit_groups, worker_process
from pachyderm_dagster.executors.limit_groups import limits_problem, make_groups
from pachyderm_dagster.pps.pods import quantity_value
from pachyderm_dagster.worker.cgroups import Limits, Parent, choose_parents, count_oom_kills, find_parents, limit_files, remove_group
from tests.worker.running import Place

ORDINARY = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct"
SLICE = "/user.slice/user-1000.slice/user@1000.service/app.slice"
LIMITS = Limits(memory=512 << 20, cpu=0.5)


def reading(**files: str) -> Callable[[str], str | None]:
    """Control groups with these controllers for those below, by path."""
    return lambda path: files.get(path.removeprefix("/sys/fs/cgroup").removesuffix("/cgroup.subtree_control"))


def found(mounts: str, membership: str, read_text: Callable[[str], str | None], limits: Limits = LIMITS, *, writable: bool = True) -> object:
    return choose_parents(limits, find_parents(mounts, membership, read_text, lambda _: writable))


def test_groups_of_a_users_program_are_beside_its_own() -> None:
    parents = found(ORDINARY, f"0::{SLICE}/run-1.scope\n", reading(**{SLICE: "cpu memory pids\n"}))
    assert parents == {Parent(f"/sys/fs/cgroup{SLICE}", 2): {"cpu", "memory"}}


def test_in_the_root_group_they_are_below_it() -> None:
    assert found(ORDINARY, "0::/\n", reading(**{"": "memory"}), Limits(memory=1)) == {Parent("/sys/fs/cgroup", 2): {"memory"}}
    problem = found(ORDINARY, "0::/\n", reading(**{"": "memory"}))
    assert str(problem).startswith("the control group /sys/fs/cgroup does not give cpu to those below it; start it with `systemd-run")


def test_group_of_a_container_is_found_below_what_is_mounted() -> None:
    mounted = ORDINARY.replace(" / /sys", " /machine/box /sys")
    parents = found(mounted, "0::/machine/box/inner/job\n", reading(**{"/inner": "memory"}), Limits(memory=1))
    assert parents == {Parent("/sys/fs/cgroup/inner", 2): {"memory"}}


def test_in_version_1_they_are_below_its_own_in_each_tree() -> None:
    mounts = f"{MEMORY}\n{CPU}"
    assert found(mounts, "4:memory:/box\n1:cpu,cpuacct:/\n", reading()) == {
        Parent("/sys/fs/cgroup/memory/box", 1): {"memory"},
        Parent("/sys/fs/cgroup/cpu,cpuacct", 1): {"cpu"},
    }
    assert found(mounts, "4:memory:/box\n1:cpu,cpuacct:/\n", reading(), Limits(cpu=1.0)) == {Parent("/sys/fs/cgroup/cpu,cpuacct", 1): {"cpu"}}


def test_in_version_1_a_tree_may_have_both_and_be_mounted_from_within() -> None:
    mounts = "35 31 0:32 /docker/1f /sys/fs/cgroup/all rw,relatime shared:3 - cgroup cgroup rw,cpu,memory"
    assert found(mounts, "4:cpu,memory:/docker/1f/job\n", reading()) == {Parent("/sys/fs/cgroup/all/job", 1): {"cpu", "memory"}}


def test_of_both_versions_each_is_used_for_what_it_has() -> None:
    unified = ORDINARY.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    parents = found(f"{MEMORY}\n{CPU}\n{unified}", "4:memory:/\n1:cpu,cpuacct:/\n0::/a/b\n", reading(**{"/unified/a": "cpu"}))
    assert parents == {Parent("/sys/fs/cgroup/memory", 1): {"memory"}, Parent("/sys/fs/cgroup/unified/a", 2): {"cpu"}}


@pytest.mark.parametrize(
    ("mounts", "membership", "controllers", "writable", "problem"),
    [
        ("", "", "", True, "this machine has no control groups for cpu"),
        (MEMORY, "4:memory:/x\n", "", True, "this machine has no control groups for cpu"),
        (CPU, "1:cpu,cpuacct:/x\n", "", False, "the control group /sys/fs/cgroup/cpu,cpuacct/x belongs to somebody else; start it as root outside"),
        (f"{MEMORY}\n{ORDINARY}", "0::/a/b\n", "pids", True, "the control group /sys/fs/cgroup/a does not give cpu to those below it; start it with"),
        (ORDINARY, "0::/a/b\n", "memory cpu", False, "the control group /sys/fs/cgroup/a belongs to somebody else; start it with `systemd-run --user --scope`"),
    ],
)
def test_why_they_cannot_be_is_said(mounts: str, membership: str, controllers: str, writable: bool, problem: str) -> None:
    assert str(found(mounts, membership, reading(**{"/a": controllers}), writable=writable)).startswith(problem)


def test_limits_become_the_kernels_words() -> None:
    both = {"memory", "cpu"}
    assert limit_files(LIMITS, 2, both) == {"memory.max": "536870912", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "50000 100000"}
    assert limit_files(Limits(cpu=0.001), 2, both) == {"cpu.max": "1000 100000"}
    assert limit_files(LIMITS, 2, {"memory"}).keys() == {"memory.max", "memory.swap.max", "memory.oom.group"}


def test_limits_become_the_words_of_version_1() -> None:
    memory = {"memory.limit_in_bytes": "536870912", "memory.memsw.limit_in_bytes": "536870912", "memory.swappiness": "0"}
    cpu = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    assert limit_files(LIMITS, 1, {"memory", "cpu"}) == memory | cpu
    # The kernel takes no limit of both that is below that of memory.
    assert list(limit_files(LIMITS, 1, {"memory"}))[:2] == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    assert limit_files(LIMITS, 1, {"cpu"}) == cpu


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("512Mi", 512 << 20), ("2G", 2e9), ("1e9", 1e9), ("1.5Ki", 1536), ("500m", 0.5), (".5E", 5e17), ("+3", 3), ("1E3", 1000)]
)
def test_quantities_are_numbers(text: str, value: float) -> None:
    assert quantity_value(text) == pytest.approx(value)


def test_group_is_made_with_its_limits_and_those_of_executors_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_groups, "_write", lambda path, value: Path(path).write_text(value))
    (tmp_path / "pachyderm-1-1-1").mkdir()
    (tmp_path / "somebody-1-1-1").mkdir()
    parents = {Parent(str(tmp_path), 2): LIMITS.controllers}
    [first], [second] = make_groups(LIMITS, parents, "a"), make_groups(LIMITS, parents, "b")
    assert {file.name: file.read_text() for file in Path(first).iterdir()} == limit_files(LIMITS, 2, LIMITS.controllers)
    assert sorted(tmp_path.iterdir()) == sorted([Path(first), Path(second), tmp_path / "somebody-1-1-1"])


def test_groups_that_user_code_made_are_removed_with_its_own(tmp_path: Path) -> None:
    (tmp_path / "group" / "inner" / "innermost").mkdir(parents=True)
    assert remove_group(f"{tmp_path}/group")
    assert not (tmp_path / "group").exists()
    assert remove_group(f"{tmp_path}/group")


def test_kills_for_want_of_memory_are_counted(tmp_path: Path) -> None:
    assert count_oom_kills([str(tmp_path)]) == 0
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n")
    assert count_oom_kills([str(tmp_path)]) == 2


def test_kills_are_counted_in_version_1(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (tmp_path / "cpu").mkdir()
    assert count_oom_kills([f"{tmp_path}/cpu", str(tmp_path)]) == 3


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel would have made for the worker that comes."""
    folder = tmp_path / "group"

    def make(limits: Limits, parents: Mapping[Parent, frozenset[str]], name: str) -> tuple[str, ...]:
        folder.mkdir()
        (folder / "cgroup.procs").touch()
        (folder / "memory.events").write_text("oom_kill 0\n")
        return (str(folder),)

    monkeypatch.setattr(worker_process, "parents_here", lambda limits: {Parent(str(tmp_path), 2): limits.controllers})
    monkeypatch.setattr(worker_process, "make_groups", make)
    return folder


def test_user_code_enters_the_group_before_it_begins(tmp_path: Path, group: Path) -> None:
    ran = Place(tmp_path).run_one("sh", "-c", f"cat {group}/cgroup.procs", limits=Limits(memory=1000))
    assert (ran.state, ran.log) == ("SUCCESS", "0")


def test_no_two_workers_have_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(worker_process, "parents_here", lambda limits: {Parent(str(tmp_path), 2): limits.controllers})

    def make(_limits: Limits, _parents: object, name: str) -> tuple[str, ...]:
        names.append(name)
        return ()

    monkeypatch.setattr(worker_process, "make_groups", make)
    place = Place(tmp_path)
    for _ in range(2):
        place.run("true", tasks=[place.task(0), place.task(1)], parallelism=2, limits=Limits(memory=1000))
    assert len(set(names)) == 4
    assert not any("/" in name for name in names)


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
    monkeypatch.setattr(worker_process, "make_groups", lambda *_: (f"{tmp_path}/gone",))
    ran = Place(tmp_path).run_one("true", limits=Limits(cpu=1.0), datum_tries=1)
    assert ran.state == "FAILED"
    problem = f"the code cannot be held to its resource_limits: it cannot enter {tmp_path}/gone: No such file or directory"
    assert ran.reason == f"{problem}; run the job again, or remove the limits [limits-not-set]"


def test_this_machine_says_whether_limits_are_kept() -> None:
    problem = limits_problem(LIMITS)
    assert problem is None or "control group" in problem
    assert limits_problem(None) is None
