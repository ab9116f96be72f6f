"""What an export is told beside its pipelines."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from pachyderm_dagster import __version__
from pachyderm_dagster.pfs.model import BranchName, RepoName

DEFAULT_IMAGE = f"pachyderm-dagster-server:{__version__}"
DEFAULT_HOME_SECRET = "pachyderm-dagster-home"
DEFAULT_OUTPUT_BRANCH = "kubeflow"


class Transport(enum.StrEnum):
    """How files get to user code and its output to us."""

    ARTIFACT = "artifact"
    """By artifacts of Kubeflow's own store; the image needs a shell."""
    VOLUME = "volume"
    """On a volume that is made for each run; any image will do."""
    IMPORTER = "importer"
    """As artifacts that Kubeflow imports from where commits were written for it; output as with `artifact`."""


class AccessMode(enum.StrEnum):
    """Which pods may have a volume at one time, in Kubernetes' words."""

    ONE_NODE = "ReadWriteOnce"
    """Those of one node."""
    MANY_NODES = "ReadWriteMany"
    """Those of all nodes."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The volume that is made for a run.

    Args:
        size: of all inputs, each content once, and all outputs, as a quantity of Kubernetes.
        storage_class: that makes it; Kubeflow takes `standard` where none is named.
    """

    size: str = "10Gi"
    storage_class: str = "standard"
    access_mode: AccessMode = AccessMode.ONE_NODE


@dataclass(frozen=True, slots=True)
class Options:
    """How pipelines are exported.

    Args:
        name: of the pipeline in Kubeflow; that of the last pipeline when empty.
        commits: of branches that are read from outside the id of the commit that a run reads unless told otherwise; the head of the others.
        image: with this package, for the tasks that read and write commits.
        home_secret: the Secret, in the namespace of runs, whose keys are the variables with which those tasks open the home.
        output_branch: of every output repo the branch that runs write.
        volume: of the transport of that name.
        titles: what people see of the tasks of pipelines; their names unless given.
        artifact_root: of the transport `importer`: the URL below which commits were written (`published`).
    """

    name: str = ""
    commits: Mapping[BranchName, str] = field(default_factory=dict)
    image: str = DEFAULT_IMAGE
    home_secret: str = DEFAULT_HOME_SECRET
    output_branch: str = DEFAULT_OUTPUT_BRANCH
    transport: Transport = Transport.ARTIFACT
    volume: Volume = field(default_factory=Volume)
    artifact_root: str = ""
    titles: Mapping[RepoName, str] = field(default_factory=dict)
