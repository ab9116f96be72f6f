"""`/pfs` in every situation: with privileges, without, and where the system forbids it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pachyderm_dagster.kernel import is_linux
from pachyderm_dagster.worker.sandbox import _advice
from tests.worker.running import ROOT, Place, unprivileged, without_namespaces

pytestmark = pytest.mark.skipif(not is_linux(), reason="namespaces are Linux's")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_unprivileged_user_code_has_a_real_pfs(place: Place) -> None:
    ran = place.run_elsewhere(unprivileged(), "sh", "-c", "cp /pfs/data/f /pfs/out/; id -u; echo $PFS_ROOT; pwd; ls -d /pfs", inputs={"data": {"/f": b"hello"}})
    assert ran.warnings == []
    assert ran.ran.outputs == {"/f": "hello"}
    assert ran.ran.log == f"{os.geteuid()}\n/pfs\n/\n/pfs\n"


def test_no_pfs_appears_on_the_machine(place: Place) -> None:
    before = set(os.listdir("/"))
    mounts = Path("/proc/self/mountinfo").read_text()
    assert place.run_one("sh", "-c", "echo x > /new; mkdir /pfs/dir; ls / > /pfs/out/root").outputs["/root"].split() == sorted(
        {*before, "pfs", "new"} - {".dockerenv"}
    )
    assert set(os.listdir("/")) == before
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_user_code_sees_the_machines_other_folders(place: Place) -> None:
    (place.folder / "tool").write_text("of the machine")
    assert place.run_one("cat", f"{place.folder}/tool").log == "of the machine"


def test_user_code_sees_its_own_processes_only_and_cannot_end_the_worker(place: Place) -> None:
    # The sooner after its start, the likelier that the worker's main thread still blocks signals while its others do not.
    script = "kill -TERM 1; for number in 1 2 3 4 6 9 10 12 14 24 34; do kill -$number 1; done; ls /proc | grep -c '^[0-9]*$'"
    tasks = [place.task(index) for index in range(30)]
    results = place.run("sh", "-c", script, tasks=tasks)
    assert [ran.state for ran in results] == ["SUCCESS"] * 30
    assert all(int(ran.log.split()[-1]) <= 4 for ran in results)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the root read-only")
def test_read_only_root_is_no_obstacle(place: Place) -> None:
    script = (
        "import os, sys\n"
        "from pachyderm_dagster.worker import linux\n"
        f"folder = {str(place.folder)!r}\n"
        "linux.unshare(linux.CLONE_NEWNS)\n"
        "linux.mount('none', '/', flags=linux.MS_REC | 1 << 18)\n"  # private
        "linux.mount(folder, folder, flags=linux.MS_BIND)\n"
        "linux.mount('/', '/', flags=linux.MS_BIND | 32 | 1)\n"  # remount, read-only
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    ran = place.run_elsewhere([sys.executable, "-c", script], "sh", "-c", "touch /usr/x 2>&1; echo done > /pfs/out/f")
    assert ran.warnings == []
    assert "Read-only file system" in ran.ran.log
    assert ran.ran.outputs == {"/f": "done\n"}


def test_without_namespaces_one_warning_says_why_and_files_are_in_pfs_root(place: Place) -> None:
    prefix = without_namespaces()
    script = 'test ! -e /pfs && cp "$data" "$PFS_ROOT/out/" && cp "$PFS_ROOT/data/f" "$PFS_ROOT/out/second" && pwd'
    answer = place.run_elsewhere(prefix, "sh", "-c", script, inputs={"data": {"/f": b"hello"}})
    [warning] = answer.warnings
    assert warning.startswith("/pfs cannot be made here (unshare: ")
    assert "to allow it: sudo sysctl user.max_user_namespaces=" in warning
    assert answer.ran.outputs == {"/f": "hello", "/second": "hello"}
    assert answer.ran.log.startswith(f"{place.folder}/scratch/")


def test_without_namespaces_failure_of_a_command_that_names_pfs_is_explained(place: Place) -> None:
    prefix = without_namespaces()
    answer = place.run_elsewhere(prefix, "sh", stdin=["cat /pfs/data/f"], inputs={"data": {"/f": b"hello"}}, datum_tries=1)
    assert answer.ran.state == "FAILED"
    assert "; note that the files are in " in answer.ran.reason
    assert "$PFS_ROOT" in answer.ran.reason
    assert "sudo sysctl" in answer.ran.reason


def test_without_namespaces_background_children_are_ended_too(place: Place) -> None:
    prefix = without_namespaces()
    fifo = place.folder / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        answer = place.run_elsewhere(prefix, "sh", "-c", f"exec 9> {fifo}; (setsid sh -c 'sleep 600 & sleep 600' &) ; sleep 600 & echo started >&9")
        assert answer.ran.state == "SUCCESS"
        os.set_blocking(reader, True)
        assert os.read(reader, 100) == b"started\n"
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_pfs_is_real_where_processes_cannot_have_a_namespace(place: Place) -> None:
    script = (
        "import os, sys\n"
        "from pachyderm_dagster.worker import linux, sandbox\n"
        "sandbox._ATTEMPTS = (linux.CLONE_NEWUSER | linux.CLONE_NEWNS,)\n"
        f"entered = sandbox.enter({str(place.folder)!r})\n"
        "print(entered.root, entered.problem, os.getpid() == 1, os.listdir('/pfs'), os.getcwd())\n"
    )
    done = subprocess.run([*unprivileged(), sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    # The guard holds no output; what it lets through is what the worker printed.
    assert (done.stdout, done.stderr) == ("/pfs None False [] /\n", "")


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ({"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n", "/.dockerenv": ""}, "--cap-add SYS_ADMIN"),
        ({}, "run as root or enable unprivileged user namespaces"),
    ],
)
def test_advice_fits_what_forbids_namespaces(files: dict[str, str], advice: str) -> None:
    text = _advice("unshare: Operation not permitted", read_text=files.get)
    assert text.startswith("/pfs cannot be made here (unshare: Operation not permitted); ")
    assert advice in text
