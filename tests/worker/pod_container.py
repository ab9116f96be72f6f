"""A container as a pod has them: `python -m tests.worker.pod_container JSON` becomes its process, with a root of its own and, when asked, as process 1.

JSON: `root`, the folder of the image (`/` for this machine as it is), `binds`, what appears where (a path that ends with `:ro` cannot be written to), `first`,
whether it is process 1 of a namespace, `read_only`, whether the root is, `user`, `folder`, `environment`, `command`.
"""

import json
import os
import signal
import sys
import tempfile
from typing import Any

from pachyderm_dagster.prctl import end_with_parent
from pachyderm_dagster.worker import linux
from pachyderm_dagster.worker.mounts import bind_entries


def main(asked: dict[str, Any]) -> None:
    """Never returns."""
    end_with_parent(signal.SIGKILL)
    linux.unshare(linux.CLONE_NEWNS | (linux.CLONE_NEWPID if asked["first"] else 0))
    if asked["first"]:
        child = os.fork()
        if child:
            # What is asked of the container is asked of its first process.
            signal.signal(signal.SIGTERM, lambda number, _frame: os.kill(child, number))
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
        end_with_parent(signal.SIGKILL)
    build_root(asked)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if asked["user"]:
        os.setgroups([])
        os.setgid(asked["user"])
        os.setuid(asked["user"])
    os.chdir(asked["folder"])
    os.execve(asked["command"][0], asked["command"], asked["environment"])


def build_root(asked: dict[str, Any]) -> None:
    """A root in memory: what the image has, and what is bound into it."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    root = tempfile.mkdtemp()
    linux.mount("tmpfs", root, "tmpfs", 0, "mode=0755")
    old = f"{root}/.old"
    os.mkdir(old)
    linux.pivot_root(root, old)
    os.chdir("/")
    image = "/.old" if asked["root"] == "/" else f"/.old{asked['root']}"
    bind_entries(image, "/", leave_out="pfs")
    for target, source in asked["binds"].items():
        target, _, how = target.partition(":")
        os.makedirs(target, exist_ok=True)
        linux.mount(f"/.old{source}", target, flags=linux.MS_BIND)
        if how == "ro":
            linux.mount("none", target, flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)
    if asked["first"]:
        os.makedirs("/proc", exist_ok=True)
        linux.mount("proc", "/proc", "proc", 0)
        if not os.path.exists("/dev/null"):
            os.makedirs("/dev", exist_ok=True)
            linux.mount("/.old/dev", "/dev", flags=linux.MS_BIND | linux.MS_REC)
    linux.detach("/.old")
    os.rmdir("/.old")
    if asked["read_only"]:
        linux.mount("none", "/", flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
