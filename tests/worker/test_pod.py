"""The worker of a pod and the container of user code, for real: two processes with roots of their own, a store, and a driver that reads what they wrote."""

import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.executors.kubernetes.pod_run import note_deaths
from pachyderm_dagster.worker.function_code import FUNCTION_CODE, code_digest
from pachyderm_dagster.worker.pod_state import PodState
from pachyderm_dagster.worker.starter import CONTROL, prepare_volume
from pachyderm_dagster.worker.work_area import Death
from tests.etcds import needs_etcd, new_address
from tests.worker.pods import BUSYBOX, IMAGE_VARIABLES, JOB, WORKERS, PodPlace, needs_pods, pods, wait_for
from tests.worker.running import OF_THE_C_LIBRARY, ROOT, Place, Ran

pytestmark = needs_pods
__all__ = ["pods"]

# One pod for what several datums do, each by its own script.
EVAL = ("sh", "-c", 'eval "$SCRIPT"')


def scripts(place: PodPlace, *texts: str, **more: Any) -> list[Ran]:
    """The datums that run these scripts, in their order."""
    tasks = [place.task(index, environment={"SCRIPT": text}) for index, text in enumerate(texts)]
    return place.run(*EVAL, tasks=tasks, **more)


def test_user_code_finds_its_files_and_its_output_is_stored(pods: PodPlace) -> None:
    script = "cat; cp /pfs/in/a /pfs/out/b; mkdir /pfs/out/d; echo more >/pfs/out/d/c; ln -s /pfs/in/a /pfs/out/same; echo said >&2"
    ran = pods.run_one("sh", "-c", script, inputs={"in": {"/a": b"content"}}, stdin=("first line", "ünd"))
    assert (ran.state, ran.reason, ran.exit_code, ran.tries) == ("SUCCESS", "", 0, 1)
    assert ran.outputs == {"/b": "content", "/d/c": "more\n", "/same": "content"}
    assert ran.log == "first line\nünd\nsaid\n"


def test_worker_logs_json_that_says_which_datum_it_is_about(pods: PodPlace) -> None:
    pods.log_format = "json"
    task = pods.task(0)
    pods.run("echo", "said", tasks=[task])
    lines = [json.loads(line) for line in (pods.folder / "containers.log").read_text().splitlines() if line.startswith("{")]
    assert [(line["message"], line["datum"]) for line in lines] == [(said, task.id) for said in ("the datum begins", "said", "the datum ended: SUCCESS")]


@pytest.mark.parametrize("odd", [{}, {"a.b": "dotted", "1x": "digit", "PPID": "7", "IFS": ":", "=": "no"}])
def test_environment_is_that_of_the_image_of_the_pipeline_and_of_the_datum(pods: PodPlace, odd: dict[str, str]) -> None:
    odd = {name: value for name, value in odd.items() if name != "="}
    image = {**IMAGE_VARIABLES, "BOTH": "image", "image.name": "dotted too"} if odd else {**IMAGE_VARIABLES, "BOTH": "image"}
    task = pods.task(0, {"in": {"/a": b"x"}}, {"PACH_DATUM_ID": "7", "program": "p", "number": "n"})
    variables = {"BOTH": "pipeline", "QUOTED": 'it\'s "$HOME" `id`\n\\ two', "EMPTY": "", **odd}
    [ran] = pods.run("env", "-0", tasks=[task], variables=variables, pod={"variables": image})
    found = dict(line.split("=", 1) for line in ran.log.split("\0") if line)
    assert found == {**image, **variables, "PACH_DATUM_ID": "7", "program": "p", "number": "n", "in": "/pfs/in/a", "PFS_ROOT": "/pfs"}


@pytest.mark.parametrize(("kills", "limit"), [("memory.events", "memory.max"), ("memory/memory.oom_control", "memory/memory.limit_in_bytes")])
def test_kernel_that_ends_a_process_for_want_of_memory_is_told_from_others_that_do(pods: PodPlace, kills: str, limit: str) -> None:
    group = pods.folder / "group"
    (group / "memory").mkdir(parents=True)
    (group / kills).write_text("low 0\noom 3\noom_kill 3\n")
    (group / limit).write_text("67108864\n")
    # As the kernel does: it counts, and ends the largest process.
    ended = f"echo oom_kill 4 >/sys/fs/cgroup/{kills}; sh -c 'kill -9 $$'"
    place = {"more_binds": {"/sys/fs/cgroup": str(group)}}
    ran = scripts(
        pods, "sh -c 'kill -9 $$'", ended, "exit 3", f"echo oom_kill 5 >/sys/fs/cgroup/{kills}; sleep 10 & kill -9 -1", "true", pod=place, datum_tries=1
    )
    code = [one.reason.rpartition(" ")[2] for one in ran]
    assert code == ["[command-killed]", "[out-of-memory]", "[command-failed]", "[out-of-memory]", ""]
    assert "67108864 bytes" in ran[1].reason


def test_code_that_fills_a_volume_in_memory_fails_its_datum_alone(pods: PodPlace) -> None:
    script = "head -c 20000000 /dev/zero >/pfs/out/large"
    ran = scripts(pods, "echo one >/pfs/out/a", script, "echo two >/pfs/out/b", pod={"megabytes": 8}, datum_tries=2, memory_volume=True)
    assert [one.state for one in ran] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert ran[1].reason.startswith("the code filled the disk of its files, which has room for 8388608 bytes;")
    assert ran[1].reason.endswith("[disk-full]")


def test_files_that_do_not_fit_beside_others_wait_and_those_that_never_fit_fail_their_datum(pods: PodPlace) -> None:
    sizes = (3_000_000, 3_500_000, 20_000_000, 4_000_000, 10)
    tasks = [pods.task(index, {"in": {"/a": bytes(size)}}) for index, size in enumerate(sizes)]
    ran = pods.run("sh", "-c", "wc -c </pfs/in/a", tasks=tasks, pod={"megabytes": 8}, memory_volume=True)
    assert [one.log for one in ran] == ["3000000\n", "3500000\n", "", "4000000\n", "10\n"]
    assert [one.reason.rpartition(" ")[2] for one in ran] == ["", "", "[disk-full]", "", ""]
    assert "its 20000000 bytes do not fit on the disk of its files, which has room for 8388608 bytes" in ran[2].reason


def test_code_that_gives_a_datum_up_after_the_kernel_ended_its_process_is_out_of_memory(pods: PodPlace) -> None:
    group = pods.folder / "group"
    group.mkdir()
    (group / "memory.events").write_text("oom_kill 0\n")
    (group / "memory.max").write_text("max\n")
    script = "pachctl next datum; echo oom_kill 1 >/sys/fs/cgroup/memory.events; pachctl next datum --error lost; pachctl next datum --error other"
    place = {"more_binds": {"/sys/fs/cgroup": str(group)}}
    tasks = [pods.task(0), pods.task(1)]
    ran = pods.run("sh", "-c", script, tasks=tasks, pod=place, datum_tries=1, datum_batching=True)
    assert [one.reason.rpartition(" ")[2] for one in ran] == ["[out-of-memory]", "[datum-error]"]
    assert "the machine had no memory left" in ran[0].reason


def test_programs_are_those_of_the_image_and_not_busyboxes(pods: PodPlace) -> None:
    folder = pods.folder / "programs"
    folder.mkdir()
    for name in ("cat", "env", "sh"):
        (folder / name).write_text(f"#!/bin/sh\necho the {name} of the image: $*\n")
        (folder / name).chmod(0o755)
    place = {"variables": {**IMAGE_VARIABLES, "PATH": f"{folder}:/usr/bin:/bin"}}
    assert pods.run_one("cat", "one", "two  three", pod=place).log == "the cat of the image: one two three\n"


def test_working_folder_is_that_of_the_image_unless_the_pipeline_names_one(pods: PodPlace) -> None:
    assert pods.run_one("pwd", pod={"folder": "/usr/share"}).log == "/usr/share\n"


@pytest.mark.parametrize(("working_dir", "found"), [("/usr/lib", "/usr/lib"), ("lib", "/usr/lib")])
def test_working_dir_of_the_pipeline(pods: PodPlace, working_dir: str, found: str) -> None:
    assert pods.run_one("pwd", working_dir=working_dir, pod={"folder": "/usr"}).log == f"{found}\n"


def test_user_code_begins_with_the_signals_of_any_process(pods: PodPlace) -> None:
    ran = pods.run_one("cat", "/proc/self/status")
    found = dict(line.split(":\t") for line in ran.log.splitlines())
    ignored, blocked = (int(found[name], 16) & ~OF_THE_C_LIBRARY for name in ("SigIgn", "SigBlk"))
    assert (ignored, blocked) == (0, 0)


def test_exit_codes_and_signals_are_told(pods: PodPlace) -> None:
    failed, killed, accepted, taken = scripts(pods, "echo why; exit 7", "kill -TERM $$", "exit 3", "exit 137", accept_return_code=(3, 137), datum_tries=2)
    assert (failed.state, failed.exit_code, failed.tries) == ("FAILED", 7, 2)
    assert failed.reason == "'sh' ended with exit code 7 (try 2); its last output: why [command-failed]"
    assert (killed.state, killed.exit_code) == ("FAILED", -signal.SIGTERM)
    assert killed.reason.endswith("; it printed nothing [command-killed]")
    assert "Terminated" not in killed.log
    assert (accepted.state, accepted.exit_code) == ("SUCCESS", 3)
    assert (taken.state, taken.exit_code) == ("SUCCESS", 137)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Files that cannot be run, each for another reason."""
    folder = tmp_path / "bad programs=x"
    folder.mkdir()
    (folder / "plain").write_text("echo run by a shell\n")
    (folder / "empty").touch()
    (folder / "interpreter").write_text("#!/no/such/interpreter\n")
    (folder / "mode").write_text("#!/bin/sh\n")
    for name in ("plain", "empty", "interpreter"):
        (folder / name).chmod(0o755)
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("no-such-program",),
        ("/no/such/program",),
        ("{}/plain",),
        ("{}/empty",),
        ("{}/interpreter",),
        ("{}/mode",),
        ("{}/folder",),
        ("echo", "x" * 200_000),
        ("echo", "NUL\0"),
    ],
    ids=lambda command: command[0].rpartition("/")[2] + str(len(command[-1])),
)
def test_what_cannot_be_started_is_told_as_on_one_machine(pods: PodPlace, programs: Path, command: tuple[str, ...]) -> None:
    command = tuple(word.replace("{}", str(programs)) for word in command)
    here = Place(pods.folder / "here").run_one(*command)
    there = pods.run_one(*command, datum_tries=3)
    assert (there.state, there.tries) == ("FAILED", 0)
    assert there.reason.rpartition("[")[2] == here.reason.rpartition("[")[2]
    # Here the program was found before that was; the search path is another.
    assert there.reason.partition("'")[0] == here.reason.partition("'")[0]
    if "PATH=" not in here.reason:
        assert there.reason.split("' ", 1)[1] == here.reason.split("' ", 1)[1]


def test_a_program_whose_path_has_an_equals_sign_runs(pods: PodPlace, programs: Path) -> None:
    (programs / "good").write_text("#!/bin/sh\necho good\n")
    (programs / "good").chmod(0o755)
    assert pods.run_one(f"{programs}/good").log == "good\n"


@pytest.mark.parametrize("odd", [{}, {"a.b": "c"}])
def test_a_missing_interpreter_is_told_apart_from_an_exit_code(pods: PodPlace, programs: Path, odd: dict[str, str]) -> None:
    assert pods.run_one(f"{programs}/interpreter", variables=odd).reason.endswith("[command-not-found]")


def test_an_exit_code_like_that_of_a_shell_is_the_programs_own(pods: PodPlace) -> None:
    missing, forbidden = scripts(pods, "echo x: not found; exit 127", "exit 126", datum_tries=1)
    assert (missing.exit_code, missing.tries, missing.reason) == (127, 1, "'sh' ended with exit code 127; its last output: x: not found [command-failed]")
    assert (forbidden.exit_code, forbidden.tries) == (126, 1)


@pytest.mark.parametrize(("working_dir", "why"), [("/no/such", "No such file or directory"), ("/bin/sh", "Not a directory")])
def test_working_dir_that_cannot_be_entered(pods: PodPlace, working_dir: str, why: str) -> None:
    ran = pods.run_one("pwd", working_dir=working_dir)
    assert ran.reason == f"working_dir '{working_dir}' cannot be entered: {why}; name a folder that exists where the pipeline runs [working-dir-invalid]"


def test_a_datum_that_takes_too_long_is_ended_with_all_that_it_started(pods: PodPlace) -> None:
    late, after = scripts(pods, "setsid sleep 1000 & echo begun; sleep 1000", "ps -e -o comm= | grep -c sleep; true", datum_timeout=1.0, datum_tries=1)
    assert (late.state, late.exit_code) == ("FAILED", None)
    assert late.reason == "'sh' ran longer than datum_timeout, 1 s, and was stopped; its last output: begun [datum-timeout]"
    assert after.log == "0\n"


def test_nothing_of_a_datum_is_left_for_the_next_one(pods: PodPlace) -> None:
    leave = "setsid sh -c 'trap : TERM; sleep 1000 & setsid sleep 1000 & wait' & (sleep 1000 &) & echo $$"
    ran = scripts(pods, leave, "ps -e -o comm= | grep -c sleep; ls /pfs/out", leave, "ps -e -o comm= | grep -c sleep; true")
    assert (ran[1].log, ran[3].log) == ("0\n", "0\n")


def test_user_code_may_signal_its_group_and_kill_all_that_it_can(pods: PodPlace) -> None:
    group, caught, all_of_it, after = scripts(
        pods, "kill 0; sleep 1000", "trap 'exit 4' TERM; kill 0; sleep 1000 & wait", "kill -9 -1; sleep 1000", "echo fine", datum_tries=1
    )
    assert (group.exit_code, caught.exit_code, all_of_it.exit_code) == (-signal.SIGTERM, 4, -signal.SIGKILL)
    assert after.log == "fine\n"
    assert pods.deaths() == []


def test_what_an_ended_runner_said_of_itself_is_not_taken_for_the_one_that_runs(pods: PodPlace) -> None:
    begun, go = pods.folder / "begun", pods.folder / "go"
    pods.give("sh", "-c", f"touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done; (true &); sleep 0.2; echo done")
    pod = pods.start_pod()
    wait_for(begun.exists)
    # Where the starter is slow, it reads this after it has started the next one.
    (pod.volume / "run" / CONTROL).write_text("runner 30000 0\n")
    go.touch()
    assert pod.wait() == 0, pods.log()
    assert [(ran.state, ran.log) for ran in pods.results()] == [("SUCCESS", "done\n")]


def test_err_cmd_runs_after_a_failed_try(pods: PodPlace) -> None:
    ran = pods.run_one("sh", "-c", "echo tried >/pfs/in/mark; exit 1", inputs={"in": {"/a": b"x", "/b": b"y"}}, err_cmd=("cat", "/pfs/in/mark"))
    assert (ran.state, ran.tries) == ("RECOVERED", 1)
    assert ran.log.endswith("[err_cmd]\ntried\n")


def test_output_comes_whole_however_much_it_is(pods: PodPlace) -> None:
    ran = pods.run_one("sh", "-c", "seq 200000; echo end")
    assert ran.log.splitlines() == [*map(str, range(1, 200_001)), "end"]


def test_lazy_files_are_filled_when_they_are_read(pods: PodPlace) -> None:
    task = pods.task(0, {"in": {"/a": b"x" * 200_000}})
    task = msgspec.structs.replace(task, inputs=tuple(msgspec.structs.replace(file, lazy=True) for file in task.inputs))
    [ran] = pods.run("sh", "-c", "test -p /pfs/in/a && wc -c </pfs/in/a && wc -c </pfs/in/a", tasks=[task], pod={"user": 1234})
    assert ran.log.split() == ["200000", "200000"]
    assert ran.download_bytes == 400_000


def test_another_user_than_root_writes_its_output_as_it_likes(pods: PodPlace) -> None:
    script = "umask 077; id -u; mkdir /pfs/out/d; echo secret >/pfs/out/d/f; chmod 000 /pfs/out/d/f; touch /pfs/in/x 2>/dev/null && echo wrong"
    first, again = pods.run("sh", "-c", f"{script}; true", tasks=[pods.task(0, {"in": {"/a": b"x"}}), pods.task(1)], pod={"user": 1234})
    assert (first.log, first.outputs) == ("1234\n", {"/d/f": "secret\n"})
    assert (again.log, again.outputs) == ("1234\n", {"/d/f": "secret\n"})


@pytest.mark.parametrize("user", [0, 1234])
def test_an_image_with_nothing_but_one_program(pods: PodPlace, user: int) -> None:
    image = pods.folder / "image"
    (image / "app").mkdir(parents=True)
    assert BUSYBOX is not None
    shutil.copy(BUSYBOX, image / "app" / "cp")
    pods.folder.chmod(0o755)
    ran = pods.run_one(
        "/app/cp", "/pfs/in/a", "/pfs/out/b", inputs={"in": {"/a": b"x"}}, pod={"image": image, "user": user, "read_only": True, "variables": {}}
    )
    assert (ran.state, ran.outputs, ran.log) == ("SUCCESS", {"/b": "x"}, "")


def test_links_out_of_pfs_lead_nowhere(pods: PodPlace) -> None:
    # In the container of the worker this would be its environment, with the credentials of the store.
    leak, outside, folder, gone = scripts(
        pods,
        "ln -s /proc/self/environ /pfs/out/x",
        "ln -s /etc/passwd /pfs/out/x",
        "ln -s /etc /pfs/out/x",
        "ln -s /pfs/nowhere /pfs/out/x",
        datum_tries=1,
    )
    assert {ran.state for ran in (leak, outside, folder, gone)} == {"FAILED"}
    assert {ran.reason.rpartition("[")[2] for ran in (leak, outside, folder, gone)} == {"output-link-invalid]"}
    way_out = "in a pod only links within /pfs can be output: copy the file to /pfs/out"
    assert outside.reason == f"/pfs/out/x is a link to '/etc/passwd'; {way_out} [output-link-invalid]"


SHOUTING = """
def shout(datum):
    file = datum.file()
    (datum.out / file.name).write_text(file.read_text().upper() + datum.environment["N"])
"""
RUNNER = "pachyderm_dagster.worker.datum_function"
BATCH = """
count=0
while pachctl next datum; do
    . /pfs/.env
    count=$((count + 1))
    case $(cat "$in") in
    bad) echo bad; pachctl next datum --error "it's bad"; . /pfs/.env ;;
    end) exit 3 ;;
    esac
    echo "$count $$ $PACH_DATUM_ID" >/pfs/out/$PACH_DATUM_ID
done
"""


@pytest.mark.parametrize("user", [0, 1234])
def test_datum_batching_asks_by_a_pachctl_of_the_pod(pods: PodPlace, user: int) -> None:
    tasks = [pods.task(index, {"in": {"/a": text}}, {"PACH_DATUM_ID": f"d{index}"}) for index, text in enumerate((b"1", b"2", b"bad", b"3", b"end", b"4"))]
    ran = pods.run("sh", "-c", BATCH, tasks=tasks, datum_batching=True, datum_tries=1, pod={"user": user})
    assert [one.state for one in ran] == ["SUCCESS", "SUCCESS", "FAILED", "SUCCESS", "FAILED", "SUCCESS"]
    assert "the code gave the datum up: it's bad" in ran[2].reason
    assert ran[4].reason.endswith("[batch-ended]")
    first = ran[0].outputs["/d0"].split()[1]
    assert ran[1].outputs == {"/d1": f"2 {first} d1\n"}


def test_pachctl_of_the_pod_without_batching_says_what_to_do(pods: PodPlace) -> None:
    ran = pods.run_one("sh", "-c", "/pach/bin/next/pachctl next datum; echo $?; /pach/bin/next/pachctl list repo; echo $?")
    assert "datum-batching-off" in ran.log
    assert [line for line in ran.log.splitlines() if line.isdecimal()] == ["1", "2"]


def test_python_code_asks_by_the_same_pipes(pods: PodPlace) -> None:
    code = """
import os, sys
from pachyderm_dagster.worker.next_call import call_next
error = None
while True:
    call_next(os.environ, error)
    name = open("/pfs/in/a").read()
    error = "wrong\\nthing" if name == "bad" else None
    open("/pfs/out/" + name, "w").write(str(os.getpid()))
"""
    tasks = [pods.task(index, {"in": {"/a": text}}) for index, text in enumerate((b"1", b"bad", b"2"))]
    ran = pods.run(sys.executable, "-c", code, tasks=tasks, datum_batching=True, datum_tries=1, variables={"PYTHONPATH": str(ROOT)})
    assert [one.state for one in ran] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert "wrong thing" in ran[1].reason
    assert ran[0].outputs["/1"] == ran[2].outputs["/2"]


def test_function_of_datums_runs_where_the_image_has_module_and_package_at_the_same_places(pods: PodPlace) -> None:
    code = pods.folder / "project"
    code.mkdir()
    (code / "shouting.py").write_text(SHOUTING)
    command = [sys.executable, "-P", "-m", RUNNER, str(code), "shouting:shout"]
    variables = {"PYTHONPATH": str(ROOT), FUNCTION_CODE: code_digest([code / "shouting.py"])}
    tasks = [pods.task(index, {"in": {f"/{index}": b"x"}}, {"N": str(index)}) for index in range(2)]
    tasks.append(pods.task(2, {"in": {"/2": b"\xff"}}, {"N": "2"}))
    ran = pods.run(*command, tasks=tasks, datum_batching=True, datum_tries=1, variables=variables)
    assert [one.outputs for one in ran[:2]] == [{"/0": "X0"}, {"/1": "X1"}]
    assert ran[2].state == "FAILED" and "the function raised UnicodeDecodeError" in ran[2].reason


def test_function_whose_interpreter_the_image_has_not_names_it(pods: PodPlace) -> None:
    ran = pods.run_one("/home/me/env/bin/python", "-P", "-m", RUNNER, "/home/me", "a:b", datum_batching=True, datum_tries=1)
    assert ran.state == "FAILED" and "'/home/me/env/bin/python'" in ran.reason and "[command-not-found]" in ran.reason


def test_source_folder_is_found_in_the_image(pods: PodPlace) -> None:
    task = pods.task(0, {"code": {"/run.sh": b"#!/bin/sh\npwd\necho run\n"}})
    files = task.inputs[0].files
    ran = pods.run_one("./run.sh", source_files=files, pod={"user": 1234})
    assert ran.log.splitlines()[-1] == "run"
    assert ran.state == "SUCCESS"


# Deaths.


def tasks_that_wait(pods: PodPlace, count: int) -> tuple[str, ...]:
    """A command for datums of which the first of all waits until a file is there; what was begun is in a file beside it."""
    pods.folder.chmod(0o755)
    state = pods.folder / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    script = f"echo x >>{state}/begun; [ $PACH_DATUM_ID != 0 ] || while [ ! -e {state}/go ]; do sleep 0.02; done; echo done >/pfs/out/$PACH_DATUM_ID"
    pods.give("sh", "-c", script, tasks=[pods.task(index, environment={"PACH_DATUM_ID": str(index)}) for index in range(count)])
    return (str(state / "begun"), str(state / "go"))


def has_lines(path: str, count: int) -> bool:
    return Path(path).exists() and len(Path(path).read_text().split()) == count


def test_a_worker_that_is_killed_goes_on_where_it_was(pods: PodPlace) -> None:
    begun, go = tasks_that_wait(pods, 5)
    pod = pods.start_pod()
    wait_for(lambda: Path(begun).exists())
    pod.worker.kill()
    pod.worker.wait()
    Path(begun).unlink()
    pod.restart_worker()
    # The first run of the datum was ended; it begins anew, behind those that killed nobody.
    wait_for(partial(has_lines, begun, 5))
    Path(go).touch()
    assert pod.wait() == 0, pods.log()
    ran = pods.results()
    assert [(one.index, one.state, one.outputs) for one in ran] == [(index, "SUCCESS", {f"/{index}": "done\n"}) for index in range(5)]
    assert [(death.datum, death.how) for death in pods.deaths()] == [(0, "the worker was killed")]


def test_a_container_that_ends_under_a_datum_is_told_and_the_next_pod_goes_on(pods: PodPlace) -> None:
    begun, _ = tasks_that_wait(pods, 3)
    # The second pod begins with the datums under which none has ended.
    for runs in (1, 4):
        pod = pods.start_pod()
        wait_for(partial(has_lines, begun, runs))
        pod.kill_container()
        assert pod.wait() != 0
    assert [(death.datum, death.index, death.how) for death in pods.deaths()] == [(0, 0, "the container of user code ended")] * 2
    # Two are enough: the driver answers this datum, and a third pod has nothing left to do.
    assert pods.start_pod().wait() == 0, pods.log()
    assert [one.index for one in pods.results()] == [1, 2]
    assert pods.area.claims_of("0") == []


def test_a_pod_that_is_told_to_end_blames_no_datum(pods: PodPlace) -> None:
    begun, go = tasks_that_wait(pods, 2)
    pod = pods.start_pod()
    wait_for(lambda: Path(begun).exists())
    pod.user.terminate()
    assert pod.wait() == 143
    assert pods.deaths() == []
    # The driver may know why it was told.
    assert pods.area.find_told(pod.uid) == Death(0, pod.uid, 0, pods.task(0).id, "the pod was told to end")
    Path(go).touch()
    assert pods.start_pod().wait() == 0
    assert [one.state for one in pods.results()] == ["SUCCESS"] * 2


@pytest.mark.parametrize("etcd", [False, pytest.param(True, marks=needs_etcd)])
def test_a_datum_that_sends_sigterm_to_the_first_process_is_blamed_by_the_driver(pods: PodPlace, *, etcd: bool) -> None:
    script = "[ $PACH_DATUM_ID = 0 ] || exit 0; kill -TERM 1; exec sleep 1000"
    tasks = [pods.task(index, environment={"PACH_DATUM_ID": str(index)}) for index in range(3)]
    pods.give("sh", "-c", script, tasks=tasks, etcd=new_address() if etcd else None)
    for ends in (1, 2):
        pod = pods.start_pod()
        code = pod.wait()
        ended = {"terminated": {"exitCode": code, "reason": "Error"}}
        note_deaths(pods.area, [{"metadata": {"uid": pod.uid}, "status": {"phase": "Failed", "containerStatuses": [{"name": "user", "state": ended}]}}])
        assert [death.datum for death in pods.deaths()] == [0] * ends
    # What two ended with is the driver's.
    assert pods.start_pod().wait() == 0, pods.log()
    assert [(one.index, one.state) for one in pods.results()] == [(1, "SUCCESS"), (2, "SUCCESS")]


def test_a_worker_that_is_told_to_end_blames_no_datum(pods: PodPlace) -> None:
    begun, go = tasks_that_wait(pods, 2)
    pod = pods.start_pod()
    wait_for(lambda: Path(begun).exists())
    pod.worker.terminate()
    assert pod.worker.wait() == 0
    Path(go).touch()
    pod.restart_worker()
    assert pod.wait() == 0
    assert [one.state for one in pods.results()] == ["SUCCESS"] * 2
    assert pods.deaths() == []


def test_what_keeps_the_worker_from_going_on_is_told_to_the_driver(pods: PodPlace) -> None:
    pods.store.put_new(f"work/{pods.area.job}/setup", b"\x82\xa5setup\xc0\xa6layout\x02")
    assert pods.start_pod().wait() == 69
    [(pod, refused)] = pods.area.refusals()
    assert (pod, refused.code) == ("pod-0", "area-too-new")


def test_a_worker_that_is_started_again_and_again_in_vain_gives_up(pods: PodPlace) -> None:
    pods.give("true")
    state = pods.folder / "volumes" / "pod-0" / "worker"
    state.mkdir(parents=True)
    for _ in range(8):
        PodState(str(state)).count_start()
    assert pods.start_pod().wait() == 69
    [(_, refused)] = pods.area.refusals()
    assert refused.code == "worker-not-started"


def test_a_store_that_cannot_be_opened_ends_the_pod(pods: PodPlace) -> None:
    pods.url = "nonsense://x"
    assert pods.start_pod().wait() == 69
    assert "storage-url-invalid" in pods.log()


def test_the_starter_refuses_to_be_another_process_than_the_first(tmp_path: Path) -> None:
    assert BUSYBOX is not None
    prepare_volume(str(tmp_path), BUSYBOX)
    # It would end every process that it may.
    done = subprocess.run([f"{tmp_path}/bin/busybox", "sh", f"{tmp_path}/bin/starter"], capture_output=True, text=True)
    assert done.returncode == 64
    assert "must be process 1" in done.stderr


def test_many_datums_over_three_pods_run_once_each(pods: PodPlace) -> None:
    pods.folder.chmod(0o755)
    mark = pods.folder / "marks"
    tasks = [pods.task(index, environment={"PACH_DATUM_ID": str(index)}) for index in range(200)]
    ran = pods.run("sh", "-c", f"echo $PACH_DATUM_ID >>{mark}; echo x >/pfs/out/$PACH_DATUM_ID", tasks=tasks, parallelism=3, set_size=10)
    assert [(one.index, one.state) for one in ran] == [(index, "SUCCESS") for index in range(200)]
    assert sorted(map(int, mark.read_text().split())) == list(range(200))
    owners = {pods.area.claims_of(str(index)) == [] for index in range(3)}
    assert owners == {True}
    assert pods.area.claimed() == set(range(20))


@needs_etcd
def test_a_living_pod_takes_over_the_set_of_one_that_died(pods: PodPlace) -> None:
    pods.folder.chmod(0o755)
    begun = pods.folder / "begun"
    tasks = [pods.task(index, environment={"PACH_DATUM_ID": str(index)}) for index in range(6)]
    # The first datum of the pod that dies never ends.
    script = f"mkdir {begun} 2>/dev/null && exec sleep 1000; echo x >/pfs/out/$PACH_DATUM_ID"
    pods.give("sh", "-c", script, tasks=tasks, set_size=2, etcd=new_address())
    dies = pods.start_pod(0)
    wait_for(begun.exists)
    lives = pods.start_pod(1)
    wait_for(lambda: len(pods.new_results()) == 4)
    dies.kill_machine()
    assert lives.wait() == 0
    assert [(one.index, one.state) for one in pods.results()] == [(index, "SUCCESS") for index in range(6)]
    assert pods.deaths() == []


@pytest.mark.parametrize("stay", [False, True])
def test_datum_that_is_asked_to_is_run_again_in_the_same_pod_and_is_to_blame_for_nothing(pods: PodPlace, stay: bool) -> None:
    again = f"{pods.folder}/again"
    script = f"if [ -e {again} ]; then echo second >/pfs/out/a; else touch {again}; exec sleep 1000; fi"
    tasks = [pods.task(0, environment={"SCRIPT": "echo >/pfs/out/b"}), pods.task(1, environment={"SCRIPT": script})]
    pods.give(*EVAL, tasks=tasks, set_size=1)
    if stay:
        pods.stay = True
        pods.store.put_new(f"work/{WORKERS}/jobs/{JOB}", b"")
    pod = pods.start_pod()
    wait_for(lambda: Path(again).exists())
    assert list(pods.area.begun()) == [tasks[1].id]
    pods.area.ask_restart(tasks[1].id)
    wait_for(lambda: len(pods.results()) == 2)
    assert [(ran.state, ran.outputs) for ran in pods.results()] == [("SUCCESS", {"/b": "\n"}), ("SUCCESS", {"/a": "second\n"})]
    assert not pods.area.is_restart_asked(tasks[1].id) and not pods.deaths()
    assert pod.user.poll() is None if stay else pod.wait() == 0
