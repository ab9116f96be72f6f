"""Opens the objects that workflows act on: those of a cluster, whose client need not be installed, or those of the home."""

import importlib
from collections.abc import Mapping

from pachyderm_dagster.argo.home_objects import HomeObjects
from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import HOME_OBJECTS, load_cluster, load_settings


def open_objects(environ: Mapping[str, str]) -> Objects:
    """Those that the settings say.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed; `config-invalid`.
    """
    settings = load_settings(environ)
    if settings.objects == HOME_OBJECTS:
        return HomeObjects(settings.home)
    try:
        module = importlib.import_module("pachyderm_dagster.argo.cluster_objects")
    except ImportError as error:
        problem = f"a 'resource' acts on a cluster, whose client is not installed ({error})"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
    objects: Objects = module.ClusterObjects(load_cluster(environ))
    return objects
