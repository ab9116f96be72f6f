"""Where pods of workflows are, as the settings of a home say; the client of a cluster need not be installed."""

import importlib

from pachyderm_dagster.argo.pod_places import LocalPlace, PodPlace
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import HOME_OBJECTS, Settings


def open_place(settings: Settings) -> PodPlace:
    """This machine, or the cluster that the settings name.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed.
    """
    if settings.kubernetes is None:
        objects = settings.home / "argo" / "objects" if settings.objects == HOME_OBJECTS else None
        return LocalPlace(settings.home / "argo" / "claims", objects)
    try:
        module = importlib.import_module("pachyderm_dagster.argo.cluster.place")
    except ModuleNotFoundError as error:
        problem = f"running the nodes of workflows in pods needs the package {error.name}, which is not installed"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
    place: PodPlace = module.ClusterPlace(settings, settings.kubernetes)
    return place
