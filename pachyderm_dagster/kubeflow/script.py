"""The shell script that runs user code in its own image, once for each datum, between the tasks that read and write commits."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.pps.spec import PipelineSpec

_TEMPLATE = Path(__file__).with_name("datums.sh")


def datum_script(spec: PipelineSpec) -> str:
    """The script for one pipeline; the folders, the share of the datums and the command are its arguments."""
    transform = spec.transform
    limit = f"timeout -s KILL {spec.datum_timeout:g} " if spec.datum_timeout else ""
    recover = f"{_fed(transform.err_stdin)}e {shlex.join(transform.err_cmd)}{_unfed(transform.err_stdin)}" if transform.err_cmd else "return 1"
    return _filled(
        {
            "RUN": f'{_fed(transform.stdin)}e {limit}"$@"{_unfed(transform.stdin)}',
            "RECOVER": recover,
            "ACCEPTED": " | ".join(map(str, dict.fromkeys([0, *transform.accept_return_code]))),
            "CD": f"cd {shlex.quote(transform.working_dir)} || exit 70" if transform.working_dir else ":",
            "PIPELINE": spec.pipeline.name,
        }
    )


def _filled(words: Mapping[str, str]) -> str:
    """The template without its comments, which are for those who read it here."""
    lines = [line for line in _TEMPLATE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines) + "\n"
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


def _fed(lines: tuple[str, ...]) -> str:
    return f"printf '%s\\n' {shlex.join(lines)} | " if lines else ""


def _unfed(lines: tuple[str, ...]) -> str:
    return "" if lines else " </dev/null"
