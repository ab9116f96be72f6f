"""A model that a Deployment serves, as an asset: its step gives the Deployment the newest commit of a branch, and the asset says which commit is served."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg
from pydantic import Field

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.assets import check_type
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.integration.snapshot import InputBranch
from pachyderm_dagster.integration.translator import PachydermTranslator, identifier
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, DEFAULT_PROJECT, BranchName, Commit
from pachyderm_dagster.pfs.reference_texts import parse_reference, parse_repo
from pachyderm_dagster.settings import HOME

TIMEOUT = "10m"
Value: TypeAlias = str | Callable[[Commit], str]
_WANTED = "a served model is a branch by its name, '[project/]repo[@branch]', or the asset of one"
_FIELDS = ("project", "repo", "branch", "commit")


@dataclass(frozen=True, slots=True)
class Serving:
    """What a step needs to know.

    Args:
        namespace, context: None for those of the settings.
    """

    key: dg.AssetKey
    model: dg.AssetKey
    branch: BranchName
    deployment: str
    env: str
    value: Value
    container: str | None
    namespace: str | None
    context: str | None
    seconds: float
    environ: Mapping[str, str] | None

    def value_of(self, commit: Commit) -> str:
        """What the variable is set to for a commit."""
        if callable(self.value):
            return self.value(commit)
        return self.value.format(project=commit.repo.project, repo=commit.repo.name, branch=self.branch.name, commit=commit.id)


def served_model(
    model: str | dg.AssetSpec | dg.AssetsDefinition,
    *,
    deployment: str,
    env: str,
    value: Value = "{commit}",
    container: str | None = None,
    namespace: str | None = None,
    context: str | None = None,
    timeout: str | float = TIMEOUT,
    key: dg.AssetKey | Sequence[str] | str | None = None,
    translator: PachydermTranslator | None = None,
    environ: Environ | None = None,
    **asset: Any,
) -> dg.AssetsDefinition:
    """A Deployment on Kubernetes that serves a model, as an asset downstream of it.

    Its step sets a variable of the Deployment to the newest commit of the model and waits until all pods serve it. When they do not, it gives the old value
    back and fails.

    ```python
    train = pipeline_asset(open("train.yaml").read())
    serving = served_model(train, deployment="recommender", env="MODEL", automation_condition=dg.AutomationCondition.eager())
    ```

    Args:
        model: the asset of a branch or pipeline, or the name of its branch, `[project/]repo[@branch]`.
        env: the variable.
        value: what it is set to: a text with `{project}`, `{repo}`, `{branch}`, `{commit}`, or a function of the commit.
        container: of the Deployment's pods; None for the only one, or the only one that has the variable.
        namespace, context: None for `PACHYDERM_KUBERNETES_NAMESPACE` and `PACHYDERM_KUBERNETES_CONTEXT`.
        timeout: how long the rollout may take, and the way back as well: a duration as '10m', or seconds.
        key: of the asset; `served/<deployment>` if left out.
        environ: names the workspace, as the environment variables do; None takes those of the process.
        asset: for `dg.asset`: `automation_condition`, `group_name`, `tags`, `owners`, `retry_policy`, ...

    Raises:
        InvalidError: `asset-invalid`, `name-invalid`, `duration-invalid`.
    """
    for what, given in (("the Deployment", deployment), ("the variable", env)):
        check_type(what, given, str)
    branch, model_key = _find_model(model, translator or PachydermTranslator())
    _check_value(value)
    serving = Serving(
        key=dg.AssetKey(["served", deployment]) if key is None else dg.AssetKey.from_coercible(key),
        model=model_key,
        branch=branch,
        deployment=deployment,
        env=env,
        value=value,
        container=container,
        namespace=namespace,
        context=context,
        seconds=parse_duration(timeout),
        environ=environ,
    )
    return _asset_of(serving, asset)


class ServedModel(dg.Component, dg.Model, dg.Resolvable):
    """A Deployment on Kubernetes that serves a model: its step has it serve the newest commit, and go back when that does not work."""

    branch: str = Field(description="The model's: [project/]repo[@branch].", examples=["model"])
    deployment: str = Field(description="The name of the Deployment.", examples=["recommender"])
    env: str = Field(description="The variable that is set.", examples=["MODEL"])
    value: str = Field(default="{commit}", description="What it is set to: a text with {project}, {repo}, {branch}, {commit}.")
    container: str | None = Field(default=None, description="Of the pods, where they have several.")
    namespace: str | None = Field(default=None, description="As PACHYDERM_KUBERNETES_NAMESPACE, which is the default.")
    context: str | None = Field(default=None, description="As PACHYDERM_KUBERNETES_CONTEXT, which is the default.")
    timeout: str = Field(default=TIMEOUT, description="How long the rollout may take, and the way back as well.")
    home: str | None = Field(default=None, description="As PACHYDERM_HOME, which is the default.")
    automatic: bool = Field(default=True, description="Whether each new commit of the model is served at once.")

    def build_defs(self, _context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset."""
        return dg.Definitions(
            assets=[
                served_model(
                    self.branch,
                    deployment=self.deployment,
                    env=self.env,
                    value=self.value,
                    container=self.container,
                    namespace=self.namespace,
                    context=self.context,
                    timeout=self.timeout,
                    environ={**os.environ, HOME: self.home} if self.home else None,
                    automation_condition=dg.AutomationCondition.eager() if self.automatic else None,
                )
            ]
        )


def _asset_of(serving: Serving, asset: Mapping[str, Any]) -> dg.AssetsDefinition:
    ours: dict[str, Any] = {
        "key": serving.key,
        "deps": [serving.model],
        "group_name": identifier(serving.branch.repo.project),
        "description": f"The commit of `{serving.branch}` that Deployment `{serving.deployment}` serves, by its variable `{serving.env}`.",
        "kinds": {"pachyderm", "kubernetes"},
        "metadata": {
            labels.DEPLOYMENT: f"{serving.namespace}/{serving.deployment}" if serving.namespace else serving.deployment,
            labels.VARIABLE: serving.env,
        },
    }
    more = {"metadata": {**asset.get("metadata", {}), **ours["metadata"]}, "deps": [*asset.get("deps", []), serving.model]}

    def deliver(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        # By its name: what speaks with the cluster is imported with the first that does.
        work = importlib.import_module("pachyderm_dagster.integration.model_delivery")
        result: dg.MaterializeResult[None] = work.deliver_model(serving, context)
        return result

    made: dg.AssetsDefinition = dg.asset(**{**ours, **asset, **more})(deliver)
    return made


def _find_model(model: object, translator: PachydermTranslator) -> tuple[BranchName, dg.AssetKey]:
    """The branch of a model, and its asset."""
    if isinstance(model, str):
        branch = parse_reference(model if "@" in model else f"{model}@{DEFAULT_BRANCH}").branch()
        return branch, translator.get_asset_spec(InputBranch(branch, "")).key
    if not isinstance(model, dg.AssetSpec | dg.AssetsDefinition):
        raise InvalidError("asset-invalid", f"{_WANTED}; found {model!r}")
    specs = [model] if isinstance(model, dg.AssetSpec) else list(model.specs)
    found = [(repo, spec) for spec in specs if (repo := labels.text(spec.metadata, labels.REPO)) is not None]
    if len(found) != 1:
        keys = ", ".join(repr(spec.key.to_user_string()) for spec in specs)
        raise InvalidError("asset-invalid", f"{_WANTED}; found {keys}, of which {len(found)} are kept in branches; name the branch")
    repo, spec = found[0]
    name = labels.text(spec.metadata, labels.BRANCH) or DEFAULT_BRANCH
    return BranchName(parse_repo(repo, project=DEFAULT_PROJECT), name), spec.key


def _check_value(value: object) -> None:
    if callable(value):
        return
    check_type("the value of the variable", value, str)
    try:
        str(value).format(**dict.fromkeys(_FIELDS, ""))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in _FIELDS)
        raise InvalidError("asset-invalid", f"the value {value!r} of the variable cannot be filled in ({error}); it takes {known}") from error
