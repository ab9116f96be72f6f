"""The errors this package raises, by what a caller can do about them.

PachydermError
├── NotFoundError (LookupError)        name something that exists
├── ExistsError                        choose another name
├── InvalidError (ValueError)          correct the input
├── StateError                         bring the object into another state first
├── ConflictError                      somebody was faster: look again and retry
├── ExecutionError                     user code or its surroundings failed
├── StorageError (OSError)             stored bytes are wrong, or the disk is full
└── UnreachableError (ConnectionError) a service did not answer: try again

Every error has a stable `code`, the same in Python, on the command line, over HTTP and in logs. The message says what, what was found and the next step.
"""


class PachydermError(Exception):
    """The root: everything this package raises on purpose.

    Args:
        code: stable, kebab-case, for programs (`branch-not-found`).
        message: one line for people: what, what was found, the next step.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class NotFoundError(PachydermError, LookupError):
    """What was named does not exist."""


class ExistsError(PachydermError):
    """What was to be made exists already."""


class InvalidError(PachydermError, ValueError):
    """The input can never be accepted as it stands."""


class StateError(PachydermError):
    """The object is not in a state that allows this."""


class ConflictError(PachydermError):
    """Another writer moved the object first."""


class ExecutionError(PachydermError):
    """User code, or what it needs to run, failed."""


class StorageError(PachydermError, OSError):
    """Stored bytes are missing or corrupt, or cannot be written."""


class UnreachableError(PachydermError, ConnectionError):
    """A service that this command needs did not answer."""
