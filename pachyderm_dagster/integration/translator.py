"""Names, groups and describes the assets of a workspace: the one hook for whoever wants them otherwise."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.code_places import places_in_spec, reference_metadata
from pachyderm_dagster.integration.snapshot import AssetBranch, InputBranch, LoadedPipeline
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, DEFAULT_PROJECT, BranchName
from pachyderm_dagster.pps.inputs import CronInput, leaves

AssetProps: TypeAlias = InputBranch | LoadedPipeline
_LANGUAGES = {"sh": "shell", "bash": "shell", "Rscript": "r", "R": "r", "java": "java", "go": "go", "julia": "julia"}
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
_SUFFIXES = {".py": "python", ".sh": "shell", ".R": "r", ".r": "r", ".jl": "julia"}
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_]")


class PachydermTranslator:
    """Turns an input branch or a pipeline into an asset spec.

    Override `get_asset_spec`, call the original and change what it returns: key, group, description, tags, owners, metadata.
    A pipeline depends on the branches that it reads by the keys of `branch_key`; where these assets have others, the dependencies get them afterwards. The
    code version, unless there is one, and the metadata by which a pipeline is found again are added afterwards.
    """

    def get_asset_spec(self, props: AssetProps) -> dg.AssetSpec:
        """The asset of an input branch (external: Dagster cannot make it) or of a pipeline's output branch."""
        match props:
            case InputBranch():
                return self._branch(props)
            case LoadedPipeline():
                return self._pipeline(props)

    def _branch(self, props: InputBranch) -> dg.AssetSpec:
        return dg.AssetSpec(
            key=branch_key(props.name),
            group_name=identifier(props.name.repo.project),
            description=props.description or f"Branch {props.name.name} of repo {props.name.repo.name}.",
            kinds={"pachyderm", "dataset"},
            metadata={**of_branch(props.name), **_uri(props.name)},
        )

    def _pipeline(self, props: LoadedPipeline) -> dg.AssetSpec:
        spec = props.spec
        command = " ".join(spec.transform.cmd)
        program = PurePosixPath(spec.transform.cmd[0] if spec.transform.cmd else "")
        language = "python" if _PYTHON.fullmatch(program.name) else _LANGUAGES.get(program.name) or _SUFFIXES.get(program.suffix)
        clock = "cron" if any(isinstance(leaf, CronInput) for leaf in leaves(spec.input)) else None
        return dg.AssetSpec(
            key=branch_key(props.output),
            deps=[branch_key(branch) for branch in props.inputs],
            group_name=identifier(props.name.project),
            description=spec.description or f"Output of pipeline {props.name.name}, which runs `{_shortened(command)}`.",
            kinds={kind for kind in ("pachyderm", language, clock) if kind is not None},
            metadata={
                **of_branch(props.output),
                **_uri(props.output),
                labels.PIPELINE: str(props.name),
                **({} if props.version is None else {labels.VERSION: props.version}),
                labels.SPEC: dg.MetadataValue.json(json.loads(props.declared or spec.to_json())),
                **reference_metadata([*props.places, *places_in_spec(spec)]),
            },
        )


def branch_key(branch: BranchName) -> dg.AssetKey:
    """`project/repo` for `master`, `project/branch/repo` for others: Dagster's graph shows the last part, so that must be the repo."""
    repo = branch.repo
    return dg.AssetKey([repo.project, repo.name] if branch.name == DEFAULT_BRANCH else [repo.project, branch.name, repo.name])


def keys_elsewhere(assets: Iterable[AssetBranch]) -> dict[BranchName, dg.AssetKey]:
    """The assets of other code that are kept in branches: their keys are what that code calls them."""
    return {branch.name: dg.AssetKey.from_user_string(branch.asset) for branch in assets}


def identifier(name: str) -> str:
    """`name` with `_` for what Dagster does not allow in the names of groups."""
    return _NOT_IN_IDENTIFIERS.sub("_", name)


def lasting_identifier(prefix: str, name: str) -> str:
    """An identifier that differs for names that differ, whatever other names there are: for sensors, whose history hangs on their name."""
    return f"{prefix}_{identifier(name)}" + ("" if identifier(name) == name else "_" + content_digest(name.encode()).hex()[:8])


def step_names(specs: Sequence[dg.AssetSpec], *, prefix: str = "") -> Mapping[dg.AssetKey, str]:
    """A step's name for each asset, `[prefix__]project__pipeline`; keys that differ only in `-` and `_` get a digest behind it."""
    plain = {spec.key: identifier("__".join([*([prefix] if prefix else []), *spec.key.path])) for spec in specs}
    uses = Counter(plain.values())
    return {key: name if uses[name] == 1 else f"{name}_{content_digest(key.to_string().encode()).hex()[:8]}" for key, name in plain.items()}


def versioned(spec: dg.AssetSpec, version_by: str | None) -> dg.AssetSpec:
    """The asset with commits that are versions by their ids (`commit`), or by what they hold (`content`), unless it says so itself.

    Raises:
        InvalidError: `asset-invalid`.
    """
    said = labels.text(spec.metadata, labels.VERSION_BY) or version_by
    if said is None:
        return spec
    if said not in (labels.BY_COMMIT, labels.BY_CONTENT):
        known = f"{labels.BY_COMMIT!r} or {labels.BY_CONTENT!r}"
        raise InvalidError("asset-invalid", f"asset {spec.key.to_user_string()!r} is to be versioned by {known}; found {said!r}")
    return spec.merge_attributes(metadata={labels.VERSION_BY: said})


def of_branch(branch: BranchName) -> dict[str, str]:
    """The metadata by which the asset of a branch is found, whatever its key."""
    return {labels.REPO: str(branch.repo), labels.BRANCH: branch.name}


def _uri(branch: BranchName) -> dict[str, str]:
    project = "" if branch.repo.project == DEFAULT_PROJECT else f"{branch.repo.project}/"
    return {labels.URI: f"pfs://{project}{branch.repo.name}@{branch.name}"}


def _shortened(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
