"""What processes log: lines for people, or for what collects logs one JSON object a line, which says what it is about: project, pipeline, job, commit, datum.

Code logs through `logging`, and says by `about` what it works on.
"""

import contextlib
import datetime as dt
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TextIO

from pachyderm_dagster.errors import PachydermError

TEXT, JSON = "text", "json"
PACKAGE = "pachyderm_dagster"
process_log = logging.getLogger(f"{PACKAGE}.process")
"""What a process tells of itself, which is printed in either form."""
_about: ContextVar[Mapping[str, str]] = ContextVar("about")


@contextlib.contextmanager
def about(**fields: str | None) -> Iterator[None]:
    """What is logged in the block, by this thread, is about this; None is not there."""
    token = _about.set({**_about.get({}), **{name: value for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _about.reset(token)


def about_job(project: str, pipeline: str, job: str) -> contextlib.AbstractContextManager[None]:
    """What is logged in the block is about a job, whose output commit has its id."""
    name = pipeline if project == "default" else f"{project}/{pipeline}"
    return about(project=project, pipeline=pipeline, job=job, commit=f"{name}@{job}")


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, message, what it is about, and the code and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, object] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get({}),
        }
        code = _code_of(record)
        if code is not None:
            found["code"] = code
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def set_up(log_format: str, stream: TextIO | None = None) -> None:
    """Has this process log in a form; a second call takes the place of the first.

    Args:
        log_format: `json`, or `text`: then what libraries log is printed as Python prints it, from warnings on, and `process_log` with the time.
        stream: standard error if left out.
    """
    handler = logging.StreamHandler(stream)
    handler.set_name(PACKAGE)
    root, package = logging.getLogger(), logging.getLogger(PACKAGE)
    for logger in (root, process_log):
        for old in [one for one in logger.handlers if one.get_name() == PACKAGE]:
            logger.removeHandler(old)
    process_log.setLevel(logging.INFO)
    if log_format == JSON:
        handler.setFormatter(JsonLines())
        root.addHandler(handler)
        package.setLevel(logging.INFO)
        process_log.propagate = True
    else:
        lines = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
        lines.converter = time.gmtime
        handler.setFormatter(lines)
        process_log.addHandler(handler)
        process_log.propagate = False


def _code_of(record: logging.LogRecord) -> str | None:
    """The code of the error that a record tells of."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    errors = [record.exc_info[1] if record.exc_info else None, *arguments]
    return next((error.code for error in errors if isinstance(error, PachydermError)), None)
