"""The shell script that runs user code in its own image, once for each datum, between the tasks that read and write commits."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.pps.spec import PipelineSpec

_TEMPLATE, _FIND_PROGRAM = (Path(__file__).with_name(name) for name in ("datums.sh", "find_program.sh"))


_FROM_IMPORTED = 'from="$in/files/$1"; case $1 in @*) number=${1%%/*}; eval "from=\\$imported_${number#@}"; from="$from/${1#*/}" ;; esac'
# A shell without libraries prefers programs of its own to those of the image; by their paths it calls these.
_FIND = 'find_program "$1" || return 127; shift; set -- "$program" "$@"; '


def datum_script(spec: PipelineSpec, *, on_volume: bool = False, imports: int = 0) -> str:
    """The script for one pipeline; the folders, the share of the datums and the command are its arguments.

    Args:
        imports: how many folders of commits are among the arguments, behind the share; files of the first are `@0/PATH` to the file of a datum.
        on_volume: the files are on a volume, so that links to them do, and the shell is one that we brought.
    """
    transform = spec.transform
    find = _FIND if on_volume else ""
    limit = f"timeout -s KILL {spec.datum_timeout:g} " if spec.datum_timeout else ""
    recover = (
        f'set -- {shlex.join(transform.err_cmd)}; {find}{_fed(transform.err_stdin)}e "$@"{_unfed(transform.err_stdin)}' if transform.err_cmd else "return 1"
    )
    return _filled(
        {
            "RUN": f'{find}{_fed(transform.stdin)}e {limit}"$@"{_unfed(transform.stdin)}',
            "RECOVER": recover,
            "ACCEPTED": " | ".join(map(str, dict.fromkeys([0, *transform.accept_return_code]))),
            "CD": f"cd {shlex.quote(transform.working_dir)} || exit 70" if transform.working_dir else ":",
            "FIND_PROGRAM": _lines_of(_FIND_PROGRAM) if on_volume else "",
            "IMPORTED": "".join(f"imported_{number}=${{{number + 6}}} " for number in range(imports)).rstrip(),
            "ARGUMENTS": str(5 + imports),
            "FROM": _FROM_IMPORTED if imports else 'from="$in/files/$1"',
            "PLACE": "ln -s" if on_volume else "cp",
            "PIPELINE": spec.pipeline.name,
        }
    )


def _filled(words: Mapping[str, str]) -> str:
    text = _lines_of(_TEMPLATE) + "\n"
    for name, word in words.items():
        text = text.replace(f"@{name}@\n", f"{word}\n" if word else "").replace(f"@{name}@", word)
    return text


def _lines_of(script: Path) -> str:
    """A script without its comments, which are for those who read it here."""
    return "\n".join(line for line in script.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#"))


def _fed(lines: tuple[str, ...]) -> str:
    return f"printf '%s\\n' {shlex.join(lines)} | " if lines else ""


def _unfed(lines: tuple[str, ...]) -> str:
    return "" if lines else " </dev/null"
