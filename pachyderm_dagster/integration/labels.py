"""The keys of the tags and metadata that this package writes into Dagster, and reads back."""

from collections.abc import Mapping

import dagster as dg

# Run tags
COMMIT_SET = "pachyderm/commit_set"
"""The commit set whose jobs a run does."""
WITH_SET = ".dagster/pachyderm_set_"
"""Begins a tag for each further set that a run does, with its id behind; Dagster's UI does not show such tags."""
ATTEMPT = "pachyderm/attempt"
"""Counts on from 2 for the further runs of a set, when one ended and left jobs undone."""
PROGRESS = ".dagster/pachyderm_progress"
"""How far a set was when a run of it was asked for, as `set_runs.Progress` says it; Dagster's UI does not show it."""
MADE_SET = "pachyderm/made_set"
"""The run that made the commit set itself: one started by hand. It equals the run's own id; a re-execution inherits it with another id."""
STARTED_BY = "pachyderm/started_by"
COMMAND_LINE = "command line"
REACTOR = "reactor"
INTERRUPTED = "pachyderm/interrupted"
"""Set when a run was ended from outside, by Ctrl-C or a machine that shuts down: that is no attempt that failed."""
PARENT_RUN = "dagster/parent_run_id"
"""Dagster's, on a run that repeats another one; its other tags are inherited."""

PARTITION = "dagster/partition"
"""Dagster's, on a run of a partition."""

PIN_PREFIX = "pachyderm/input."
"""With an asset's key: the commit that an IO manager reads of it in this run."""

RESUMES = "dagster/is_resume_retry"
"""Dagster's, on a run that repeats what another one did not do; it does not inherit it."""

WORKFLOW = "pachyderm/workflow"
"""The workflow of Argo that a run runs: its name. A schedule says it before the run begins. It is metadata of steps too."""
CRON_WORKFLOW = "pachyderm/cron_workflow"
"""The CronWorkflow whose schedule asked for a run."""
SENSOR = "pachyderm/sensor"
"""The Sensor of Argo whose trigger asked for a run."""
SCHEDULED_TIME = "pachyderm/scheduled_time"
"""When that run was to start, as RFC 3339."""

# Metadata of commits and branches that assets of Dagster wrote
WRITING_RUN = "dagster_run"
WRITING_STEP = "dagster_step"
WRITING_ASSET = "dagster_asset"
"""The key of the asset, `project/repo`; on a branch it makes that branch this asset, whatever the translator would call it."""

REPEATED_SET = "dagster_repeats"
"""On the outputs of a commit set that a run made to repeat another one: that one's id, whose partition they are."""
COMMIT_SETS = "pachyderm_commit_sets"
"""Dagster's name of the partitions that are commit sets."""

# Event tags that Dagster compares to tell what is stale. Its names, but not among its public constants.
DATA_VERSION = "dagster/data_version"
DATA_VERSION_IS_USER_PROVIDED = "dagster/data_version_is_user_provided"
CODE_VERSION = "dagster/code_version"
INPUT_DATA_VERSION = "dagster/input_data_version"
INPUT_EVENT_POINTER = "dagster/input_event_pointer"

# Metadata of assets
REPO = "pachyderm/repo"
BRANCH = "pachyderm/branch"
PIPELINE = "pachyderm/pipeline"
PROJECT = "pachyderm/project"
"""A tag of pipelines' assets: the project, whose job runs those that have it."""
VERSION = "pachyderm/version"
SPEC = "pachyderm/spec"
DECLARED = "pachyderm/declared"
"""The specification that a Dagster project declares a pipeline with, as JSON."""
EXECUTES = "pachyderm/executes"
"""Whose code a step is, when it is not only that of `JobStep.run`: the user's."""
SPEC_CODE_VERSION = "pachyderm/code_version"
"""The code version that a pipeline's specification has: an asset with another one got it from the user."""
URI = "dagster/uri"
VERSION_BY = "pachyderm/version_by"
"""What the data version of an asset's commits is: `commit` (its id), or `content`."""
BY_COMMIT, BY_CONTENT = "commit", "content"

# Metadata of materializations; numbers are plotted over time
COMMIT = "pachyderm/commit"
PARENT = "pachyderm/parent"
MESSAGE = "pachyderm/message"
FINISHED = "pachyderm/finished"
CHANGES = "pachyderm/changes"
"""What a commit changed, in Markdown."""
JOB = "pachyderm/job"
COMMANDS = "pachyderm/commands"
"""What to type to see more of a job."""
RUN = "pachyderm/run"
"""The run of Dagster that did a job."""
INPUTS = "pachyderm/inputs"
PATH = "pachyderm/path"
"""The directory of the commit that holds the value."""
FILES = "pachyderm/files"
FILES_ADDED = "pachyderm/files_added"
FILES_CHANGED = "pachyderm/files_changed"
FILES_DELETED = "pachyderm/files_deleted"
BYTES = "pachyderm/bytes"
DATUMS_TOTAL = "pachyderm/datums_total"
DATUMS_PROCESSED = "pachyderm/datums_processed"
DATUMS_SKIPPED = "pachyderm/datums_skipped"
DATUMS_FAILED = "pachyderm/datums_failed"
DATUMS_RECOVERED = "pachyderm/datums_recovered"
DOWNLOAD_BYTES = "pachyderm/download_bytes"
UPLOAD_BYTES = "pachyderm/upload_bytes"
PROCESS_SECONDS = "pachyderm/process_seconds"
SECONDS = "pachyderm/seconds"
LISTING = "pachyderm/listing"
PICTURE = "pachyderm/picture"
REASON = "pachyderm/reason"
UNREADABLE = "pachyderm/unreadable"
"""Why the rest of an output's metadata is missing: its content could not be read."""
FAILED_DATUMS = "pachyderm/failed_datums"
RECOVERED_DATUMS = "pachyderm/recovered_datums"
LINEAGE_WARNING = "pachyderm/column_lineage_warning"
"""Columns that the declared lineage is of and the output does not have."""
SLOWEST_DATUMS = "pachyderm/slowest_datums"

# Of a workflow of Argo
NODES = "pachyderm/nodes"
NODE_TREE = "pachyderm/node_tree"
NODE_GRAPH = "pachyderm/node_graph"
OUTPUT_PREFIX = "pachyderm/output."
"""With the name of an output parameter: its value."""
WORKFLOW_FILES = "pachyderm/workflow_files"
WHOLE = "pachyderm/run_as_a_whole"
"""Why a workflow is one step."""

# Of a run in Kubeflow
KUBEFLOW_RUN = "kubeflow/run"
KUBEFLOW_STATE = "kubeflow/state"

# Of a served model
DEPLOYMENT = "pachyderm/deployment"
"""`namespace/name` of the Deployment that serves it."""
VARIABLE = "pachyderm/variable"
VALUE = "pachyderm/value"
VALUE_BEFORE = "pachyderm/value_before"
IMAGE = "pachyderm/image"
REVISION = "pachyderm/revision"
"""Of the Deployment, as `kubectl rollout history` counts them."""
PODS = "pachyderm/pods"

ROW_COUNT = "dagster/row_count"
PARTITION_ROW_COUNT = "dagster/partition_row_count"
COLUMN_SCHEMA = "dagster/column_schema"
COLUMN_LINEAGE = "dagster/column_lineage"
CODE_REFERENCES = "dagster/code_references"

JOB_CHECK = "job"
"""The asset check of every pipeline: whether its newest job succeeded."""


def text(metadata: Mapping[str, object], key: str) -> str | None:
    """A text among an asset's metadata, however Dagster keeps it."""
    found = metadata.get(key)
    value = found.value if isinstance(found, dg.TextMetadataValue) else found
    return value if isinstance(value, str) else None
