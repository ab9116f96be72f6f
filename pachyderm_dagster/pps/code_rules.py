"""What a specification may say of how and where code runs, whichever machine that is."""

from pachyderm_dagster.kernel import MOST_USER_NUMBER
from pachyderm_dagster.pps.spec import PipelineSpec, Transform
from pachyderm_dagster.pps.strict import Place

MOST_WORKERS = 10_000
"""As many as a system has numbers for: Linux gives its processes 32,768 unless it is told otherwise, and a worker with its guard and its code takes three."""
_MOST_PATH_BYTES = 4095


def check_code(spec: PipelineSpec, place: Place) -> None:
    """Raises InvalidError `spec-invalid` for what no machine can do."""
    workers = spec.parallelism_spec.constant
    if workers > MOST_WORKERS:
        problem = f"{workers:,} workers; a job takes up to {MOST_WORKERS:,}: start with as many as the machine has processors"
        raise place.field("parallelism_spec").field("constant").invalid(problem)
    _check_working_dir(spec.transform, place.field("transform").field("working_dir"))
    _check_user(spec.transform, place.field("transform").field("user"))


def _check_working_dir(transform: Transform, place: Place) -> None:
    folder = transform.working_dir
    if not folder:
        return
    if not folder.startswith("/"):
        raise place.invalid(f"{folder!r} is not an absolute path; nobody stands anywhere when the code starts: write it from / on")
    if len(folder.encode(errors="surrogatepass")) > _MOST_PATH_BYTES:
        raise place.invalid(f"{folder[:60]!r}… cannot be a path; it takes up to {_MOST_PATH_BYTES:,} bytes")


def _check_user(transform: Transform, place: Place) -> None:
    user = transform.user
    if user.startswith("-") or (user.isdecimal() and int(user) > MOST_USER_NUMBER):
        raise place.invalid(f"{user!r} is no user; name one, or a number from 0 to {MOST_USER_NUMBER}")
