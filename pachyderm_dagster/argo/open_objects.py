"""Opens the objects of a cluster, whose client need not be installed."""

import importlib
from collections.abc import Mapping

from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import load_cluster


def open_objects(environ: Mapping[str, str]) -> Objects:
    """Those of the cluster that the environment names.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed; `config-invalid`.
    """
    try:
        module = importlib.import_module("pachyderm_dagster.argo.cluster_objects")
    except ImportError as error:
        problem = f"a 'resource' acts on a cluster, whose client is not installed ({error})"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
    objects: Objects = module.ClusterObjects(load_cluster(environ))
    return objects
