"""Becomes another user, then the command: a script that is run by itself, since a process with threads must not change on its way to exec.

Its arguments: user id, group id, all group ids with commas between them, a descriptor, the program, and the program's arguments. It imports nothing of
the package.
On the descriptor, which closes when the program begins, it writes the number of the error that kept it from that.
"""

import os
import signal
import sys

FAILED = 127


def main() -> None:
    """Never returns."""
    user, group, groups, status, program, *arguments = sys.argv[1:]
    report = int(status)
    os.set_inheritable(report, False)
    try:
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
