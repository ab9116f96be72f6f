"""Where the code of a pipeline is, as Dagster's code references: its file, the script that its command names, its source folder, a function."""

import inspect
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.pps.spec import PipelineSpec


@dataclass(frozen=True, slots=True)
class CodePlace:
    """A file or folder of this machine, by its absolute path, and a line of it if it is known."""

    path: str
    line: int | None = None


def place_in_file(file: Path, text: str, pipeline: str) -> CodePlace:
    """Where a pipeline file, which holds `text`, names this pipeline."""
    found = re.search(rf"""name['"]?\s*:\s*['"]?{re.escape(pipeline)}(?![\w-])""", text)
    return CodePlace(str(file.resolve()), None if found is None else text.count("\n", 0, found.start()) + 1)


def place_of_caller(depth: int) -> CodePlace | None:
    """The line that called a function, `depth` calls above this one; None where it is in no file, as in a notebook."""
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        frame = None if frame is None else frame.f_back
    if frame is None or not Path(frame.f_code.co_filename).is_file():
        return None
    return CodePlace(str(Path(frame.f_code.co_filename).resolve()), frame.f_lineno)


def places_in_spec(spec: PipelineSpec) -> list[CodePlace]:
    """The files of this machine that the command names, and the source folder, when their paths do not depend on where somebody stands."""
    folder = spec.transform.working_dir
    named = [Path(folder, word) for word in spec.transform.cmd]
    found = [path for path in named if path.is_absolute() and path.suffix and path.is_file()]
    if spec.transform.build is not None and Path(spec.transform.build.path).is_dir() and Path(spec.transform.build.path).is_absolute():
        found.append(Path(spec.transform.build.path))
    return [CodePlace(str(path)) for path in found]


def reference_metadata(places: Iterable[CodePlace]) -> dict[str, dg.MetadataValue]:
    """Metadata by which Dagster links to the code, and `link_code_references_to_git` turns the links into those of a repository; none without places."""
    with warnings.catch_warnings():
        # In beta since 1.7; what they become is seen by the tests.
        warnings.simplefilter("ignore", dg.BetaWarning)
        references = [dg.LocalFileCodeReference(file_path=place.path, line_number=place.line) for place in dict.fromkeys(places)]
        return {labels.CODE_REFERENCES: dg.CodeReferencesMetadataValue(code_references=[*references])} if references else {}
