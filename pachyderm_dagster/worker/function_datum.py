"""A datum as a Python function gets it: the folders of its inputs, and one for its output."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pachyderm_dagster.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Datum:
    """The files of a datum, and where its output goes.

    ```python
    edges(Datum({"images": Path("some/pictures")}, out=tmp_path))  # in a test
    ```

    Args:
        inputs: the folder of each input, by its name.
        out: a folder; the files that are written there are the datum's output.
        environment: the datum's variables, as any code of a pipeline has them: `PACH_DATUM_ID`, `PACH_JOB_ID`, ...
    """

    inputs: Mapping[str, Path]
    out: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def folder(self, input: str | None = None) -> Path:
        """The folder of an input; of the only one when it is not named.

        Raises:
            InvalidError: `input-unknown`.
        """
        if input is None and len(self.inputs) == 1:
            return next(iter(self.inputs.values()))
        if input is not None and input in self.inputs:
            return self.inputs[input]
        found = "an input has to be named" if input is None else f"there is no input {input!r}"
        raise InvalidError("input-unknown", f"{found}; this datum has {', '.join(map(repr, sorted(self.inputs))) or 'none'}")

    def path(self, input: str | None = None) -> Path:
        """The file or folder of an input that the glob matched; the input's folder when it matched several for this datum.

        Raises:
            InvalidError: `input-unknown`.
        """
        folder = self.folder(input)
        matched = Path(self.environment.get(folder.name, folder))
        return matched if all(path == matched or path.is_relative_to(matched) for path in self.files(folder.name)) else folder

    def files(self, input: str | None = None) -> list[Path]:
        """The files of an input, in the order of their paths."""
        return sorted(path for path in self.folder(input).rglob("*") if not path.is_dir())

    def file(self, input: str | None = None) -> Path:
        """The one file of an input.

        Raises:
            InvalidError: `input-unknown`; `not-one-file`, when it has none or several.
        """
        found = self.files(input)
        if len(found) != 1:
            raise InvalidError("not-one-file", f"{self.folder(input)} holds {len(found)} files, and one was asked for; choose another glob, or use `files`")
        return found[0]

    def relative(self, path: Path) -> Path:
        """The path of a file below the folder of its input, as it is in the repo."""
        return next((path.relative_to(folder) for folder in self.inputs.values() if path.is_relative_to(folder)), path)
