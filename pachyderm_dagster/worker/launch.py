"""Enters control groups, or becomes another user, or both, and then is the command: a script of its own, since a process with threads must not change on its
way to exec.

Its arguments: the folders of the control groups, a line each, or nothing; user id, or nothing, group id, all group ids with commas between them; a descriptor,
the program, and the program's arguments. It imports nothing of the package.
On the descriptor, which closes when the program begins, it writes the number of the error that kept it from that, behind a G when that was a group's.
"""

import os
import signal
import sys

FAILED = 127


def main() -> None:
    """Never returns."""
    control_groups, user, group, groups, status, program, *arguments = sys.argv[1:]
    report = int(status)
    os.set_inheritable(report, False)
    for folder in control_groups.splitlines():
        try:
            with open(f"{folder}/cgroup.procs", "r+", encoding="utf-8") as file:
                # This process, whichever number it has where it is seen from.
                file.write("0")
        except OSError as error:
            os.write(report, f"G{error.errno or 0}".encode())
            os._exit(FAILED)
    try:
        if user:
            os.setgroups([int(one) for one in groups.split(",")])
            os.setgid(int(group))
            os.setuid(int(user))
        # Python ignores these, and what is ignored stays so.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execv(program, arguments)
    except OSError as error:
        os.write(report, str(error.errno or 0).encode())
    os._exit(FAILED)


if __name__ == "__main__":
    main()
