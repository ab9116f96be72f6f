"""What user code finds, and what becomes of what it leaves: with real workers, with the rights of whoever runs the tests."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.worker.running import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def test_files_of_a_datum_become_its_output(place: Place) -> None:
    ran = place.run_one("cp", "-r", "/pfs/data/.", "/pfs/out/", inputs={"data": {"/a/b.txt": b"hello", "/c": b""}})
    assert (ran.state, ran.reason, ran.exit_code, ran.tries) == ("SUCCESS", "", 0, 1)
    assert ran.outputs == {"/a/b.txt": "hello", "/c": ""}
    assert (ran.download_bytes, ran.upload_bytes) == (5, 5)


def test_every_datum_sees_its_own_files_only(place: Place) -> None:
    tasks = [place.task(index, {"data": {f"/f{index}": b"%d" % index}}) for index in range(40)]
    results = place.run(*sh("ls -A /pfs/data /pfs/out /pfs > /pfs/out/$(basename $data).txt"), tasks=tasks, parallelism=2)
    for index, ran in enumerate(results):
        assert sorted(ran.outputs[f"/f{index}.txt"].split()) == sorted(
            ["/pfs:", ".env", "data", "out", "/pfs/data:", f"f{index}", "/pfs/out:", f"f{index}.txt"]
        )


def test_what_a_datum_leaves_in_pfs_is_gone_for_the_next(place: Place) -> None:
    look = 'test -z "$(ls -A /pfs | grep -v -e data -e out -e .env)" && test -z "$(ls /pfs/out)" || exit 9'
    litter = "echo x > /pfs/junk; mkdir /pfs/more; echo x > /pfs/data/f; chmod 000 /pfs/data; true"
    tasks = [place.task(index, {"data": {"/f": b"%d" % index}}) for index in range(8)]
    results = place.run(*sh(f"{look}; {litter}"), tasks=tasks)
    assert [ran.state for ran in results] == ["SUCCESS"] * 8


def test_user_code_that_writes_to_its_inputs_changes_no_stored_file(place: Place) -> None:
    task = place.task(0, {"data": {"/f": b"original"}})
    assert place.run(*sh("echo changed > /pfs/data/f"), tasks=[task])[0].state == "SUCCESS"
    assert place.run(*sh("cp /pfs/data/f /pfs/out/"), tasks=[task])[0].outputs == {"/f": "original"}


def test_variables_name_files_and_root(place: Place) -> None:
    ran = place.run_one(
        *sh("env > /pfs/out/env"),
        inputs={
            "data": {
                "/a/b": b"",
            },
            "all": {"/x": b"", "/y": b""},
        },
        environment={"PACH_DATUM_ID": "d1", "data_COMMIT": "c1"},
    )
    found = dict(line.split("=", 1) for line in ran.outputs["/env"].splitlines() if "=" in line)
    expected = {"data": "/pfs/data/a/b", "all": "/pfs/all", "PFS_ROOT": "/pfs", "PACH_DATUM_ID": "d1", "data_COMMIT": "c1", "PATH": os.environ["PATH"]}
    assert {name: found[name] for name in expected} == expected


def test_variables_of_the_datum_cover_those_of_the_pipeline_and_those_the_machine(place: Place) -> None:
    setup = {"HOME": "/pipeline", "COLOUR": "blue", "SHAPE": "round"}
    ran = place.run_one(*sh("echo $HOME $COLOUR $SHAPE"), environment={"COLOUR": "red"}, variables=setup)
    assert ran.log == "/pipeline red round\n"


def test_env_file_is_there_to_be_read_by_a_shell(place: Place) -> None:
    ran = place.run_one(*sh("unset data; . /pfs/.env; echo $data"), inputs={"data": {"/f": b""}})
    assert ran.log == "/pfs/data/f\n"


def test_lines_of_stdin_reach_the_command(place: Place) -> None:
    ran = place.run_one("sh", stdin=("echo one", "echo two > /pfs/out/two"))
    assert (ran.log, ran.outputs) == ("one\n", {"/two": "two\n"})


def test_command_that_reads_no_stdin_is_well(place: Place) -> None:
    assert place.run_one("true", stdin=("x" * 100_000,)).state == "SUCCESS"


def test_command_without_stdin_reads_nothing(place: Place) -> None:
    assert place.run_one(*sh("cat > /pfs/out/stdin")).outputs == {"/stdin": ""}


def test_working_dir_is_where_the_command_starts(place: Place, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "tool").chmod(0o755)
    assert place.run_one("./tool", working_dir=str(tmp_path)).log == f"{tmp_path}\n"


def test_command_starts_above_pfs(place: Place) -> None:
    assert place.run_one("pwd").log == "/\n"


def test_accepted_exit_code_is_a_success(place: Place) -> None:
    ran = place.run_one(*sh("echo x > /pfs/out/x; exit 3"), accept_return_code=(3, 4))
    assert (ran.state, ran.exit_code, ran.outputs) == ("SUCCESS", 3, {"/x": "x\n"})


def test_failing_command_is_tried_as_often_as_asked_and_says_why(place: Place) -> None:
    ran = place.run_one(*sh("echo starting; echo it broke >&2; exit 7"), datum_tries=3)
    assert (ran.state, ran.exit_code, ran.tries, ran.outputs) == ("FAILED", 7, 3, {})
    assert ran.reason == "'sh' ended with exit code 7 (try 3); its last output: starting | it broke [command-failed]"
    assert ran.log.count("it broke") == 3


def test_each_try_starts_with_an_empty_out(place: Place, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("")
    script = f'echo x >> {counter}; n=$(wc -l < {counter}); test -z "$(ls -A /pfs/out)" || exit 9; echo $n > /pfs/out/$n; test $n -ge 3'
    ran = place.run_one(*sh(script), datum_tries=5)
    assert (ran.state, ran.tries, ran.outputs) == ("SUCCESS", 3, {"/3": "3\n"})


def test_out_of_a_retry_is_made_anew_whatever_became_of_it(place: Place, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    ran = place.run_one(*sh(f"test -e {marker} && exit 0; touch {marker}; rmdir /pfs/out; ln -s {tmp_path} /pfs/out; exit 1"))
    assert (ran.state, ran.tries, ran.outputs) == ("SUCCESS", 2, {})
    assert marker.exists()


def test_each_try_starts_with_its_inputs_as_they_are_stored(place: Place, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("")
    spoil = "rm /pfs/data/gone; echo changed > /pfs/data/kept; echo x > /pfs/data/new; echo x > /pfs/junk; rm -r /pfs/other /pfs/.env"
    script = f"echo x >> {counter}; if test $(wc -l < {counter}) -lt 3; then {spoil}; exit 1; fi; cd /pfs; find . -type f | sort; cat data/gone data/kept"
    inputs = {"data": {"/gone": b"1\n", "/kept": b"2\n"}, "other": {"/f": b""}}
    ran = place.run_one(*sh(script), inputs=inputs, datum_tries=3)
    assert (ran.state, ran.tries) == ("SUCCESS", 3)
    assert ran.log.endswith("./.env\n./data/gone\n./data/kept\n./other/f\n1\n2\n")


def test_time_limit_ends_a_try(place: Place) -> None:
    ran = place.run_one(*sh("echo begun; sleep 600"), datum_timeout=0.3, datum_tries=2)
    assert (ran.state, ran.exit_code, ran.tries) == ("FAILED", None, 2)
    assert ran.reason.startswith("'sh' ran longer than datum_timeout, 0.3 s, and was stopped (try 2); its last output: ")
    assert ran.reason.endswith("[datum-timeout]")
    assert ran.log.startswith("begun\n")


def test_signal_that_ended_the_command_is_named(place: Place) -> None:
    ran = place.run_one(*sh("kill -SEGV $$"), datum_tries=1)
    assert ran.exit_code == -signal.SIGSEGV
    assert ran.reason == "'sh' was ended by signal 11 (Segmentation fault); it printed nothing [command-killed]"


def test_missing_command_fails_at_once_and_says_that_the_image_is_not_used(place: Place) -> None:
    ran = place.run_one("no-such-program", image="wordcount-image", datum_tries=3)
    assert (ran.state, ran.tries, ran.exit_code) == ("FAILED", 0, None)
    assert ran.reason.startswith(f"command 'no-such-program' was not found in PATH={os.environ['PATH']}; ")
    assert "not in its image 'wordcount-image'" in ran.reason
    assert ran.reason.endswith("[command-not-found]")


def test_missing_path_of_command_is_named(place: Place) -> None:
    assert place.run_one("/no/such/program").reason == "command '/no/such/program' does not exist [command-not-found]"


def test_command_that_is_not_executable_is_named(place: Place, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    ran = place.run_one(str(script))
    assert (ran.tries, ran.reason) == (
        0,
        f"command '{script}' cannot be run: Permission denied; make it executable (chmod +x) or name its interpreter first [command-not-executable]",
    )


def test_script_without_interpreter_is_named(place: Place, tmp_path: Path) -> None:
    for text, reason in (("#!/no/such/interpreter\n", "the interpreter that its first line names does not"), ("echo x\n", "a script that begins with #!")):
        script = tmp_path / "script"
        script.write_text(text)
        script.chmod(0o755)
        ran = place.run_one(str(script))
        assert ran.tries == 0
        assert reason in ran.reason


def test_bad_working_dir_is_named(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, problem in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path / "file", "Not a directory")):
        ran = place.run_one("true", working_dir=str(folder))
        assert (ran.state, ran.tries) == ("FAILED", 0)
        assert ran.reason.startswith(f"working_dir '{folder}' cannot be entered: {problem}; ")
        assert ran.reason.endswith("[working-dir-invalid]")


def test_forbidden_output_name_fails_the_datum_and_names_file_and_rule(place: Place) -> None:
    ran = place.run_one(*sh("echo x > /pfs/out/good; echo x > '/pfs/out/what?'"))
    assert (ran.state, ran.outputs, ran.tries) == ("FAILED", {}, 1)
    assert ran.reason.startswith("/pfs/out/what? cannot be output: ")
    assert ran.reason.endswith("[output-path-invalid]")


def test_links_become_files_and_links_to_inputs_are_not_uploaded(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("from elsewhere")
    script = f"ln -s $data /pfs/out/same; ln -s {tmp_path}/elsewhere /pfs/out/other; ln -s other /pfs/out/again; ln $data /pfs/out/hard"
    ran = place.run_one(*sh(script), inputs={"data": {"/f": b"of the input"}})
    assert ran.outputs == {"/same": "of the input", "/other": "from elsewhere", "/again": "from elsewhere", "/hard": "of the input"}
    assert ran.upload_bytes == 2 * len("from elsewhere") + len("of the input")


def test_link_into_another_directory_leaves_that_directory_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    ran = place.run_one(*sh(f"ln -s {tmp_path}/precious /pfs/out/dir"))
    assert ran.outputs == {"/dir/file": "precious"}
    assert (tmp_path / "precious" / "file").read_text() == "precious"


def test_output_of_a_link_is_what_it_was_when_the_datum_ended(place: Place, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    tasks = [place.task(index, {"data": {"/f": b"%d" % index}}) for index in range(20)]
    results = place.run(*sh(f"cat $data > {shared}; ln -s {shared} /pfs/out/f"), tasks=tasks)
    assert [ran.outputs for ran in results] == [{"/f": str(index)} for index in range(20)]


def test_output_of_failed_commands_is_kept_as_log(place: Place) -> None:
    ran = place.run_one(*sh("echo to stdout; echo to stderr >&2; false"), datum_tries=1)
    assert ran.log == "to stdout\nto stderr\n"


def test_log_larger_than_the_cap_keeps_both_ends(place: Place) -> None:
    ran = place.run_one(*sh("echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo last"))
    assert ran.state == "SUCCESS"
    assert ran.log.startswith("first\n")
    assert ran.log.endswith("\nlast\n")
    assert "bytes left out here" in ran.log
    assert len(ran.log) < (16 << 20) + 200


def test_command_that_closes_its_outputs_is_waited_for(place: Place) -> None:
    script = "import os; os.close(1); os.close(2); f = open('/pfs/out/late', 'w'); f.write('x'); f.close()"
    assert place.run_one(sys.executable, "-c", script).outputs == {"/late": "x"}


def test_background_children_end_with_the_datum_also_in_sessions_of_their_own(place: Place, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ran = place.run_one(*sh(f"exec 9> {fifo}; (setsid sh -c 'sleep 600 & sleep 600' &) ; sleep 600 & echo started >&9; exit 0"))
        assert ran.state == "SUCCESS"
        assert ran.process_seconds < 60
        os.set_blocking(reader, True)
        # Its end is reached only when no process has the other side open any more.
        assert os.read(reader, 100) == b"started\n"
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_workers_answers_cannot_be_disturbed_by_user_code(place: Place) -> None:
    script = "for fd in 0 1 2 3 4 5 6 7 8 9; do (head -c 1000 /dev/urandom >&$fd) 2>/dev/null; done; true"
    tasks = [place.task(index) for index in range(3)]
    assert [ran.state for ran in place.run("bash", "-c", script, tasks=tasks)] == ["SUCCESS"] * 3


def test_large_files_pass_through(place: Place) -> None:
    data = b"".join(b"%015d\n" % number for number in range(600_000))
    ran = place.run_one(*sh("cp $data /pfs/out/copy; wc -c < /pfs/out/copy"), inputs={"data": {"/large": data}})
    assert ran.log.strip() == str(len(data))
    assert ran.outputs["/copy"] == data.decode()


def test_many_files_in_and_out(place: Place) -> None:
    files = {f"/d{number % 7}/f{number}": b"%d" % number for number in range(2000)}
    ran = place.run_one("cp", "-r", "/pfs/data/.", "/pfs/out", inputs={"data": files})
    assert ran.outputs == {path: data.decode() for path, data in files.items()}


def test_modes_of_outputs_do_not_matter(place: Place) -> None:
    ran = place.run_one(*sh("mkdir /pfs/out/d; echo x > /pfs/out/d/f; chmod 000 /pfs/out/d/f /pfs/out/d"))
    assert ran.outputs == {"/d/f": "x\n"}


def test_staged_files_are_writable_by_user_code(place: Place) -> None:
    ran = place.run_one(*sh("stat -c %a $data; echo more >> $data; cat $data"), inputs={"data": {"/f": b"x\n"}})
    assert ran.log.endswith("x\nmore\n")
    assert int(ran.log.split()[0], 8) & stat.S_IWUSR


def test_user_code_starts_with_default_signals_and_no_foreign_descriptor(place: Place) -> None:
    ran = place.run_one("bash", "-c", "trap; ls /proc/self/fd | wc -w; kill -INT $$; echo survived", datum_tries=1)
    # ls itself opens one more.
    assert ran.log == "4\n"
    assert ran.exit_code == -signal.SIGINT


def test_command_without_path_is_looked_for_in_the_path_of_user_code(place: Place, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "tool").chmod(0o755)
    assert place.run_one("tool", variables={"PATH": f"{tmp_path}:/usr/bin:/bin"}).log == "found\n"


def test_arguments_that_no_system_takes_are_named(place: Place) -> None:
    assert place.run_one("echo", "x" * 3_000_000).reason.endswith(
        "Argument list too long; its arguments and its environment are more than this system takes [command-not-executable]"
    )
    assert place.run_one("echo", "a\0b").reason.endswith("embedded null byte in its arguments or environment [command-not-executable]")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's user code can mount")
def test_worker_that_cannot_clear_pfs_ends_and_the_datum_says_why(place: Place) -> None:
    tasks = [place.task(index, environment={"SCRIPT": "mount -t tmpfs none /pfs/out" if index == 1 else "true"}) for index in range(3)]
    results = place.run(*sh('eval "$SCRIPT"'), tasks=tasks)
    assert [ran.state for ran in results] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert results[1].reason.startswith("two worker processes ended while they ran this datum; the last one ended with exit code 70; its last words: OSError: ")
    assert "Device or resource busy" in results[1].reason
