"""The step of a served model: chooses the commit, delivers it, and tells Dagster what is served."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.delivery.delivering import Courier, Delivered, Delivery
from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.integration.asset_branches import pin_tag
from pachyderm_dagster.integration.commit_events import find_commit_id
from pachyderm_dagster.integration.served_models import Serving
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.heads import find_readable_head
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.named_commits import find_named
from pachyderm_dagster.pfs.references import find_commit
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.settings import load_cluster
from pachyderm_dagster.workspace import Workspace, open_workspace


def deliver_model(serving: Serving, context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Has the Deployment serve a commit.

    Raises:
        dg.Failure: it does not; Dagster is to try again where the cluster did not answer.
    """
    environ = os.environ if serving.environ is None else serving.environ
    try:
        return _deliver(serving, environ, context)
    except PachydermError as error:
        raise dg.Failure(str(error), metadata={labels.VARIABLE: serving.env}, allow_retries=isinstance(error, UnreachableError)) from error


def _deliver(serving: Serving, environ: Mapping[str, str], context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    workspace = open_workspace(environ)
    try:
        commit = _choose(serving, workspace, context)
        cluster = _open_cluster(serving, environ)
        courier = Courier(cluster, workspace.database.clock, context.log.info)
        value = serving.value_of(commit)
        delivered = courier.deliver(Delivery(serving.deployment, serving.env, value, serving.container, serving.seconds))
    finally:
        workspace.close()
    metadata = _metadata(serving, commit, delivered, f"{cluster.namespace}/{serving.deployment}")
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(commit.id))


def _choose(serving: Serving, workspace: Workspace, context: dg.AssetExecutionContext) -> Commit:
    """The commit to serve: the one that the run pins, or made, or the newest one."""
    pin = context.run.tags.get(pin_tag(serving.model))
    repo = serving.branch.repo
    with workspace.database.read() as txn:
        if pin is not None:
            return commits.get_commit(txn, find_commit(txn, commit_in(repo, pin, project=repo.project)))
        made = _made_in_run(serving.model, context)
        found = None if made is None else find_named(txn, repo, made)
        found = found or find_readable_head(txn, serving.branch)
    if found is None:
        raise NotFoundError("asset-empty", f"there is no model to serve: '{serving.branch}' has no commit; run what makes it, or put files there")
    return found


def _made_in_run(key: dg.AssetKey, context: dg.AssetExecutionContext) -> str | None:
    """The id of the newest commit of an asset that this run reported."""
    records = context.instance.get_records_for_run(context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, ascending=False).records
    newest = next((record for record in records if (event := record.asset_materialization) and event.asset_key == key), None)
    return None if newest is None else find_commit_id(newest)


def _open_cluster(serving: Serving, environ: Mapping[str, str]) -> Any:
    settings = load_cluster(environ, namespace=serving.namespace, context=serving.context)
    try:
        # By name: the client is an extra, and takes long to import.
        module = importlib.import_module("pachyderm_dagster.delivery.deployments")
    except ModuleNotFoundError as error:
        problem = f"delivering a model needs the package {error.name}, which is not installed"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
    return module.Deployments(settings)


def _metadata(serving: Serving, commit: Commit, delivered: Delivered, deployment: str) -> dict[str, dg.MetadataValue]:
    found: dict[str, dg.MetadataValue] = {
        labels.COMMIT: dg.MetadataValue.text(str(commit)),
        labels.DEPLOYMENT: dg.MetadataValue.text(deployment),
        labels.VARIABLE: dg.MetadataValue.text(serving.env),
        labels.VALUE: dg.MetadataValue.text(delivered.value),
        labels.IMAGE: dg.MetadataValue.text(delivered.image),
        labels.REVISION: dg.MetadataValue.text(delivered.revision),
        labels.PODS: dg.MetadataValue.int(delivered.pods),
        labels.SECONDS: dg.MetadataValue.float(delivered.seconds),
    }
    if delivered.changed and delivered.before is not None:
        found[labels.VALUE_BEFORE] = dg.MetadataValue.text(delivered.before)
    return found
