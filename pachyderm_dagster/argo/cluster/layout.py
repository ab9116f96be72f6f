"""Where things are in the volume of a pod of a workflow."""

PACH = "/pach"
"""Where containers of ours, and programs, see the volume."""
BIN, IN, RUN = "bin", "in", "run"
"""Its folders: programs that user code may not change, what is mounted at the paths of artifacts, and what the containers tell one another."""
OUTPUTS = "outputs"
"""In `bin`: the outputs that are wanted; it is there when the pod has an answer to give."""
SCRIPT_NAME = "script"
"""In `in`: the text of a script."""
TAKEN, SAVED, REFUSED, RESULT = "taken", "saved", "refused", "result"
"""In `run`: the program's code, written when its outputs were taken; that they are stored; why they cannot be; what the program printed."""


def taken_output(number: int) -> str:
    """In `run`: an output, as it was taken."""
    return f"out.{number}"


def given_name(number: int) -> str:
    """In `in`: an input artifact."""
    return f"artifact-{number}"
