"""`@datum_asset`: a Python function that runs on each datum, as a pipeline and its asset."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.assets import VersionBy, asset_of, check_type
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.integration.building import PartitionBy
from pachyderm_dagster.integration.code_places import CodePlace
from pachyderm_dagster.integration.dagster_inner import become
from pachyderm_dagster.integration.datum_parameters import check_parameters
from pachyderm_dagster.integration.declared import declare
from pachyderm_dagster.integration.translator import PachydermTranslator
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.worker.function_code import FUNCTION_CODE, RUNNER, code_digest, import_root

if TYPE_CHECKING:
    from pachyderm_dagster.integration.work import Execute

DatumFunction: TypeAlias = Callable[..., object]
_OURS = "cmd", "stdin", "datum_batching", "build"


class DatumAsset(dg.AssetsDefinition):
    """A pipeline's asset that can be called as the function that it runs.

    Attributes:
        function: as it was decorated. Copies that Dagster makes have none.
    """

    function: DatumFunction | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        return super().__call__(*args, **kwargs) if self.function is None else self.function(*args, **kwargs)


def pfs(repo: str, *, glob: str = "/", **fields: Any) -> dict[str, Any]:
    """An input of a pipeline: a repo, and the glob that divides it into datums.

    Args:
        glob: `/` for one datum, `/*` for one for each file or folder at the top.
        fields: others of a `pfs` input: `branch`, `name`, `project`, `lazy`, `batch`, `join_on`, ...

    Raises:
        InvalidError: `asset-invalid`.
    """
    check_type("the repo of an input", repo, str)
    check_type(f"the glob of input {repo!r}", glob, str)
    return {"pfs": {"repo": repo, "glob": glob, **fields}}


def datum_asset(
    *,
    input: Mapping[str, Any],
    name: str | None = None,
    project: str = DEFAULT_PROJECT,
    description: str | None = None,
    code: Sequence[ModuleType] = (),
    spec: Mapping[str, Any] | None = None,
    version_by: VersionBy | None = None,
    partition_by: PartitionBy | None = None,
    translator: PachydermTranslator | None = None,
    environ: Environ | None = None,
    execute: "Execute | None" = None,
    python: str | None = None,
    **op: Any,
) -> Callable[[DatumFunction], DatumAsset]:
    """Makes a function of one datum a pipeline, and that an asset: it runs for the datums that are new or changed, and for all when its code changes.

    ```python
    @datum_asset(input=pfs("images", glob="/*"))
    def edges(datum: Datum) -> None:
        for picture in datum.files():
            (datum.out / picture.name).write_bytes(find_edges(picture.read_bytes()))
    ```

    Or its parameters are the inputs, by their names, as their types say, and it returns a value, which is written below the path that the glob matched:

    ```python
    @datum_asset(input=pfs("texts", glob="/*"))
    def words(texts: str) -> pandas.DataFrame:
        return pandas.DataFrame({"word": texts.split()})
    ```

    The function runs in a process of its own, with the interpreter and from the folder that this is loaded with, and is imported there. Its code is its module,
    as Python understands it.

    Args:
        input: as in a pipeline file; `pfs(...)`, or `{"cross": [pfs(...), pfs(...)]}`.
        name: of the pipeline and its repo; the function's if left out.
        project: the Pachyderm project.
        description: the function's docstring if left out.
        code: modules whose code counts besides.
        spec: other fields of a pipeline file: `parallelism_spec`, `datum_tries`, `transform: {env: ...}`, ...
        python: another interpreter, a path or a name, that has the function's module installed: that of the image, where datums run in pods.
        version_by, partition_by, translator, environ, execute, op: as for `pipeline_asset`.

    Raises:
        InvalidError: `function-not-importable`, for what a worker could not import; `asset-invalid`, when `spec` holds what is said here; `spec-invalid`;
            `parameter-invalid`, for a parameter that is no input, or a type that files have no form for.
    """
    if python is not None:
        check_type("the interpreter of a function", python, str)

    def decorate(function: DatumFunction) -> DatumAsset:
        root, files = _find_code(function, code)
        target = f"{function.__module__}:{function.__name__}"
        said = description or inspect.getdoc(function) or f"What `{target}` makes of each datum."
        transform = {
            "cmd": [*_interpreter(python, root), target, *(module.__name__ for module in code)],
            "env": {FUNCTION_CODE: code_digest(files)},
            "datum_batching": True,
        }
        document = _document(spec or {}, {"pipeline": {"name": name or function.__name__}, "description": said, "input": input}, transform)
        place = CodePlace(str(files[0]), function.__code__.co_firstlineno)
        loaded = declare(document, place, project=project).loaded
        check_parameters(function, leaves(loaded.spec.input))
        made = asset_of(loaded, op, version_by=version_by, partition_by=partition_by, translator=translator, environ=environ, execute=execute)
        asset = become(DatumAsset.__new__(DatumAsset), made)
        asset.function = function
        return asset

    return decorate


def _interpreter(python: str | None, root: Path) -> list[str]:
    """The command up to where the function is imported from: nowhere in particular, where another interpreter has it installed."""
    return [python or sys.executable, "-P", "-m", RUNNER, "" if python else str(root)]


def _document(given: Mapping[str, Any], ours: Mapping[str, Any], transform: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline specification: ours, and what users may say besides."""
    also = given.get("transform", {})
    taken = [*(field for field in given if field in ours), *(f"transform.{field}" for field in also if field in _OURS)]
    if taken:
        raise InvalidError("asset-invalid", f"`spec` of a datum asset holds {', '.join(taken)}, which the decorator says; leave it out")
    env = {**also.get("env", {}), **transform["env"]}
    return {"reprocess_spec": "code_change", **given, **ours, "transform": {**also, **transform, "env": env}}


def _find_code(function: DatumFunction, also: Sequence[ModuleType]) -> tuple[Path, list[Path]]:
    """Where the function is imported from, and the files of its module and of the others."""
    if not inspect.isfunction(function):
        raise _refused(repr(function), f"is no function but a {type(function).__name__}", "decorate a function of a module")
    module, name = function.__module__, function.__qualname__
    if "." in name or name == "<lambda>":
        found = "a lambda" if "<lambda>" in name else "defined within a function or a class"
        raise _refused(f"{module}:{name}", f"is {found}", "define it at the top of a module, with `def`")
    if module == "__main__":
        raise _refused(name, "is defined in the program that was started, or in a notebook", "put it into a module, and import that")
    files = [_file_of(each) for each in (module, *(one.__name__ for one in also))]
    root = import_root(module, files[0])
    if root is None:
        raise _refused(f"{module}:{name}", f"was loaded from {files[0]}, where an import would not find it", "give the module the name that its path has")
    return root, files


def _file_of(module: str) -> Path:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or Path(file).suffix != ".py":
        raise _refused(module, f"was loaded from {file or 'no file'}", "its source has to be a file that ends with .py")
    return Path(file).resolve()


def _refused(what: str, why: str, step: str) -> InvalidError:
    return InvalidError("function-not-importable", f"{what} {why}, so that a worker cannot import it; {step}")
