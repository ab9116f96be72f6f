"""What an export is told beside its pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pachyderm_dagster import __version__
from pachyderm_dagster.pfs.model import BranchName

DEFAULT_IMAGE = f"pachyderm-dagster-server:{__version__}"
DEFAULT_HOME_SECRET = "pachyderm-dagster-home"
DEFAULT_OUTPUT_BRANCH = "kubeflow"


@dataclass(frozen=True, slots=True)
class Options:
    """How pipelines are exported.

    Args:
        name: of the pipeline in Kubeflow; that of the last pipeline when empty.
        commits: of branches that are read from outside the id of the commit that a run reads unless told otherwise; the head of the others.
        image: with this package, for the tasks that read and write commits.
        home_secret: the Secret, in the namespace of runs, whose keys are the variables with which those tasks open the home.
        output_branch: of every output repo the branch that runs write.
    """

    name: str = ""
    commits: Mapping[BranchName, str] = field(default_factory=dict)
    image: str = DEFAULT_IMAGE
    home_secret: str = DEFAULT_HOME_SECRET
    output_branch: str = DEFAULT_OUTPUT_BRANCH
