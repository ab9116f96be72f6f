"""What happens to a call in a forked child."""

import os
import warnings
from collections.abc import Callable

from pachyderm_dagster.errors import PachydermError


def in_child(call: Callable[[], object]) -> str:
    """`done`, the code of the error or the name of another exception that the call ended with in a forked child."""
    answer, to_parent = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tried here
        pid = os.fork()
    if pid == 0:
        try:
            os.write(to_parent, _outcome(call).encode())
        finally:
            os._exit(0)
    os.close(to_parent)
    with open(answer, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said.decode()


def _outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except PachydermError as error:
        return error.code
    except BaseException as error:  # noqa: BLE001 -- its name is the answer
        return type(error).__name__
    return "done"
