"""The error command: when it runs, what it finds, and what becomes of its datum."""

from pathlib import Path

import pytest

from tests.worker.running import Place

FAIL = ("sh", "-c", "echo half > /pfs/out/half; echo it broke; exit 7")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_datum_is_recovered_without_output_and_not_tried_again(place: Place) -> None:
    ran = place.run_one(*FAIL, err_cmd=("sh", "-c", "echo it is well"))
    assert (ran.state, ran.exit_code, ran.tries, ran.outputs) == ("RECOVERED", 7, 1, {})
    assert ran.reason == "'sh' ended with exit code 7; its last output: it broke [command-failed]"
    assert ran.log == "it broke\n\n[err_cmd]\nit is well\n"


def test_error_command_finds_what_the_failed_try_left_and_its_variables(place: Place) -> None:
    ran = place.run_one(*FAIL, inputs={"data": {"/f": b"input"}}, err_cmd=("sh",), err_stdin=("cat /pfs/out/half $data",))
    assert ran.state == "RECOVERED"
    assert ran.log.endswith("half\ninput")


def test_failing_error_command_leaves_the_datum_to_its_other_tries(place: Place) -> None:
    ran = place.run_one(*FAIL, err_cmd=("sh", "-c", "echo no help; exit 1"), datum_tries=2)
    assert (ran.state, ran.tries, ran.outputs) == ("FAILED", 2, {})
    assert ran.log.count("no help") == 2
    assert ran.reason == "'sh' ended with exit code 7 (try 2); its last output: it broke [command-failed]"


def test_error_command_may_end_with_an_accepted_code(place: Place) -> None:
    assert place.run_one(*FAIL, err_cmd=("sh", "-c", "exit 3"), accept_return_code=(3,)).state == "RECOVERED"


def test_error_command_of_a_good_datum_does_not_run(place: Place) -> None:
    ran = place.run_one("sh", "-c", "echo x > /pfs/out/x", err_cmd=("sh", "-c", "echo never"))
    assert (ran.state, ran.outputs, ran.log) == ("SUCCESS", {"/x": "x\n"}, "")


def test_missing_program_is_no_failed_try(place: Place) -> None:
    ran = place.run_one("/no/such/program", err_cmd=("true",))
    assert (ran.state, ran.tries) == ("FAILED", 0)


def test_missing_error_command_is_told_in_the_log(place: Place) -> None:
    ran = place.run_one(*FAIL, err_cmd=("/no/such/program",), datum_tries=1)
    assert ran.state == "FAILED"
    assert "[err_cmd: command '/no/such/program' does not exist" in ran.log


def test_datum_out_of_time_can_be_recovered(place: Place) -> None:
    ran = place.run_one("sleep", "600", err_cmd=("true",), datum_timeout=0.2)
    assert (ran.state, ran.exit_code) == ("RECOVERED", None)
    assert "datum-timeout" in ran.reason
