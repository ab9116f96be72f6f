"""What processes log, as lines for people and as JSON."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.log_lines import JSON, TEXT, about, about_job, process_log, set_up
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.worker.echo import LoggedEcho

log = logging.getLogger("pachyderm_dagster.executors.something")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Takes what is logged; afterwards logging is as it was."""
    root, package = logging.getLogger(), logging.getLogger("pachyderm_dagster")
    loggers = (root, package, process_log)
    before = [(one, one.level, list(one.handlers), one.propagate) for one in loggers]
    yield io.StringIO()
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_record_says_what_it_is_about(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    with about_job("default", "edges", "0123"):
        log.info("the job begins: try %s", 1)
        with about(datum="ab"):
            log.warning("slow")
    log.info("idle")
    first, second, third = records(stream)
    assert first.pop("time").endswith("Z") and len(second["time"]) == len("2026-01-01T00:00:00.000Z")
    job = {"project": "default", "pipeline": "edges", "job": "0123", "commit": "edges@0123"}
    assert first == {"level": "INFO", "logger": log.name, "message": "the job begins: try 1", **job}
    assert {**job, "datum": "ab"}.items() <= second.items()
    assert not {"job", "commit", "datum"} & third.keys()


def test_commit_of_another_project_is_named_with_it(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    with about_job("vision", "edges", "0123"):
        log.info("x")
    assert records(stream)[0]["commit"] == "vision/edges@0123"


def test_errors_have_their_code_and_traceback_in_one_line(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    error = StateError("job-finished", "it is over\nand done")
    log.warning("could not: %s", error)
    try:
        raise error
    except StateError:
        log.exception("unexpected")
    told, raised = records(stream)
    assert (told["code"], told["message"]) == ("job-finished", "could not: it is over\nand done [job-finished]")
    assert raised["code"] == "job-finished" and "Traceback" in raised["exception"]


def test_what_one_thread_works_on_is_not_said_of_another(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    with about(datum="ab"):
        thread = threading.Thread(target=log.info, args=("from elsewhere",))
        thread.start()
        thread.join()
    assert "datum" not in records(stream)[0]


def test_other_libraries_are_heard_from_warnings_on(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    logging.getLogger("botocore").info("chatter")
    logging.getLogger("botocore").warning("no credentials")
    assert [one["message"] for one in records(stream)] == ["no credentials"]


def test_lines_for_people_have_what_the_process_tells_and_nothing_else(stream: io.StringIO) -> None:
    set_up(JSON, io.StringIO())
    set_up(TEXT, stream)
    process_log.info("the reactor waits")
    log.info("the job begins")
    assert stream.getvalue().endswith(" the reactor waits\n") and stream.getvalue().count("\n") == 1


def test_lines_of_user_code_are_records_of_their_datum(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    echo = LoggedEcho("ab")
    for piece in (b"one\ntw", b"o\n", b"\xff", b"end"):
        echo.write(piece)
    echo.close()
    echo.close()
    assert [(one["datum"], one["message"]) for one in records(stream)] == [("ab", "one"), ("ab", "two"), ("ab", "�end")]
    assert {one["logger"] for one in records(stream)} == {"pachyderm_dagster.worker.echo.user"}


def test_line_without_an_end_is_told_in_pieces(stream: io.StringIO) -> None:
    set_up(JSON, stream)
    echo = LoggedEcho("ab")
    echo.write(b"x" * 200_000)
    echo.close()
    lengths = [len(one["message"]) for one in records(stream)]
    assert lengths == [65536, 65536, 65536, 200_000 - 3 * 65536]


def test_another_format_is_refused() -> None:
    with pytest.raises(InvalidError, match="PACHYDERM_LOG_FORMAT is 'xml'; it takes text or json"):
        load_settings({"PACHYDERM_HOME": "/nowhere", "PACHYDERM_LOG_FORMAT": "xml"})
