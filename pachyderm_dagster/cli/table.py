"""Every command, where it is and what it does: `--help` and completion need nothing else."""

from collections.abc import Mapping

from pachyderm_dagster.cli.everywhere import version_option
from pachyderm_dagster.cli.gone import GONE, GONE_CONFIG, GONE_NOUNS
from pachyderm_dagster.cli.lazy import CommandWithGroup, Entry, Here, LazyGroup
from pachyderm_dagster.cli.old_names import OldName, as_given, on_master, reference, two_references, with_slash

SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Projects, repos and branches": {
        "create project": Here("projects:create_project", "Make a project."),
        "update project": Here("projects:update_project", "Change a project's description."),
        "inspect project": Here("projects:inspect_project", "Show a project."),
        "list project": Here("projects:list_project", "List the projects."),
        "delete project": Here("projects:delete_project", "Remove a project that has no repos."),
        "create repo": Here("repos:create_repo", "Make a repo."),
        "update repo": Here("repos:update_repo", "Change a repo's description."),
        "inspect repo": Here("repos:inspect_repo", "Show a repo."),
        "list repo": Here("repos:list_repo", "List the repos."),
        "delete repo": Here("repos:delete_repo", "Remove a repo with all its data."),
        "create branch": Here("branches:create_branch", "Make a branch, or move it."),
        "inspect branch": Here("branches:inspect_branch", "Show a branch."),
        "list branch": Here("branches:list_branch", "List the branches of a repo."),
        "delete branch": Here("branches:delete_branch", "Remove a branch; its commits stay."),
        "edit metadata": Here("metadata:edit_metadata", "Change what is noted on objects."),
    },
    "Commits": {
        "start commit": Here("commits:start_commit", "Open a commit and print its id."),
        "finish commit": Here("finish_commit:finish_commit", "Close a commit, which never changes after that."),
        "inspect commit": Here("commits:inspect_commit", "Show a commit, or all commits of a set."),
        "list commit": Here("commits:list_commit", "List the commits of a repo or set, or the commit sets."),
        "draw commit": Here("draw_commit:draw_commit", "Draw the history of a repo, with forks and branches."),
        "find commit": Here("find_commit:find_commit", "List the commits that changed a file or directory."),
        "walk provenance": Here("walk:walk_provenance", "List what a commit or branch was made from."),
        "walk subvenance": Here("walk:walk_subvenance", "List what was made from a commit or branch."),
        "wait commit": Here("wait:wait_commit", "Wait until commits or commit sets are finished."),
        "flush commit": Here("wait:flush_commit", "Wait until everything downstream of commits is finished."),
        "subscribe commit": Here("subscribe:subscribe_commit", "Print commits as they are finished."),
        "clear commit": Here("removing:clear_commit", "Take back what was put into an open commit."),
        "squash commit": Here("removing:squash_commit", "Remove a commit or a set; what it wrote stays in later ones."),
        "delete commit": Here("removing:delete_commit", "Remove a commit or a set with what it wrote."),
        "forget commit": Here("removing:forget_commit", "Give up the content of an old output."),
    },
    "Transactions": {
        "start transaction": Here("transactions:start_transaction", "Gather what is asked for instead of doing it."),
        "finish transaction": Here("transactions:finish_transaction", "Do everything that a transaction holds, at once."),
        "stop transaction": Here("transactions:stop_transaction", "Leave the active transaction without finishing it."),
        "resume transaction": Here("transactions:resume_transaction", "Make a transaction the active one again."),
        "inspect transaction": Here("transactions:inspect_transaction", "Show a transaction."),
        "list transaction": Here("transactions:list_transaction", "List the transactions that are open."),
        "delete transaction": Here("transactions:delete_transaction", "Give a transaction up."),
    },
    "Files": {
        "put file": Here("put_file:put_file", "Write files into a branch or an open commit."),
        "get file": Here("get_file:get_file", "Read a file, or a directory as a folder or tar archive."),
        "list file": Here("files:list_file", "List a directory."),
        "glob file": Here("files:glob_file", "List the files and directories that a pattern matches."),
        "inspect file": Here("files:inspect_file", "Show a file or directory."),
        "diff file": Here("diff_file:diff_file", "Compare files or directories of two commits."),
        "copy file": Here("files:copy_file", "Copy a file or directory without moving its content."),
        "delete file": Here("files:delete_file", "Remove a file or directory."),
    },
    "Pipelines and jobs": {
        "create pipeline": Here("pipeline_specs:create_pipeline", "Make pipelines from a file."),
        "update pipeline": Here("pipeline_specs:update_pipeline", "Give pipelines their next version."),
        "create defaults": Here("defaults:create_defaults", "Say what specifications of pipelines may leave out."),
        "update defaults": Here("defaults:update_defaults", "Replace defaults of pipelines."),
        "inspect defaults": Here("defaults:inspect_defaults", "Show defaults of pipelines."),
        "delete defaults": Here("defaults:delete_defaults", "Remove defaults of pipelines."),
        "validate pipeline": Here("pipeline_specs:validate_pipeline", "Check a pipeline file without making anything."),
        "inspect pipeline": Here("pipelines:inspect_pipeline", "Show a pipeline."),
        "list pipeline": Here("pipelines:list_pipeline", "List the pipelines."),
        "edit pipeline": Here("edit_pipeline:edit_pipeline", "Change a pipeline in an editor."),
        "extract pipeline": Here("pipelines:extract_pipeline", "Print what a pipeline was made from."),
        "draw pipeline": Here("draw_pipeline:draw_pipeline", "Draw which pipelines read what."),
        "check status": Here("check_status:check_status", "List pipelines that work for longer than they are expected to."),
        "start pipeline": Here("pipelines:start_pipeline", "Let a stopped pipeline take new commits."),
        "stop pipeline": Here("pipelines:stop_pipeline", "Cut a pipeline off from new commits."),
        "rerun pipeline": Here("pipelines:rerun_pipeline", "Make one more job for what the inputs hold now."),
        "delete pipeline": Here("pipelines:delete_pipeline", "Remove pipelines with their output."),
        "run pipeline": Here("run_pipeline:run_pipeline", "Make one more job for chosen commits of the inputs, or one for each."),
        "run cron": Here("run_cron:run_cron", "Tick a pipeline's cron inputs now, or a branch with --trigger-cron."),
        "list job": Here("jobs:list_job", "List jobs, or job sets."),
        "inspect job": Here("jobs:inspect_job", "Show a job, or all jobs of a set."),
        "wait job": Here("wait:wait_job", "Wait until a job or a job set is finished."),
        "retry egress": Here("retry_egress:retry_egress", "Send the output of a job again, and run nothing."),
        "stop job": Here("jobs:stop_job", "End a job that is not finished."),
        "delete job": Here("jobs:delete_job", "Remove a job from the lists."),
        "list datum": Here("datums:list_datum", "List the datums of a job, or those that a pipeline would have."),
        "inspect datum": Here("datums:inspect_datum", "Show a datum."),
        "restart datum": Here("restart_datum:restart_datum", "Kill datums that run and begin them anew, in the same job."),
        "next datum": Here("next_datum:next_datum", "In user code under datum batching: end a datum and take the next."),
        "run service": Here("run_service:run_service", "Keep services and spouts running here."),
        "run deployment": Here("argo_kubectl:run_deployment", "Keep the Deployments of the home running here."),
        "run datum": Here("run_datum:run_datum", "Run one datum here and now, and commit nothing."),
        "logs": Here("logs:logs", "Print what user code said."),
    },
    "Secrets": {
        "create secret": Here("secrets:create_secret", "Keep values that pipelines get and nobody sees."),
        "inspect secret": Here("secrets:inspect_secret", "Show the keys of a secret."),
        "list secret": Here("secrets:list_secret", "List the secrets."),
        "delete secret": Here("secrets:delete_secret", "Remove a secret."),
    },
    "Workflows of Argo": {
        "argo lint": Here("argo_lint:argo_lint", "Check workflow files before they run."),
        "argo submit": Here("argo:argo_submit", "Run a workflow."),
        "argo list": Here("argo:argo_list", "List the workflows that were submitted."),
        "argo get": Here("argo:argo_get", "Show a workflow and its nodes."),
        "argo logs": Here("argo_following:argo_logs", "Print what the pods of a workflow printed."),
        "argo wait": Here("argo_following:argo_wait", "Wait until workflows have ended that others run."),
        "argo watch": Here("argo_following:argo_watch", "Show the nodes of a workflow as they change."),
        "argo suspend": Here("argo_control:argo_suspend", "Let nothing of a workflow begin."),
        "argo resume": Here("argo_control:argo_resume", "Let a workflow that is suspended go on."),
        "argo node set": Here("argo_control:argo_node_set", "Answer nodes that are suspended."),
        "argo stop": Here("argo_control:argo_stop", "End a workflow."),
        "argo terminate": Here("argo_control:argo_terminate", "End a workflow without its exit handler."),
        "argo delete": Here("argo_control:argo_delete", "Remove workflows that were submitted."),
        "argo retry": Here("argo:argo_retry", "Run a workflow that failed, or was interrupted, on."),
        "argo listen": Here("argo_listen:argo_listen", "Take the requests that events of Argo are."),
        "argo kubectl": Here("argo_kubectl:argo_kubectl", "Look at and change the Deployments of a home without a cluster."),
        "argo export": Here("argo_export:argo_export", "Write pipelines as a WorkflowTemplate."),
        "argo plan": Here("argo_steps:argo_plan", "In a workflow: find the datums of an exported pipeline."),
        "argo stage": Here("argo_steps:argo_stage", "In a workflow: get the files of a datum."),
        "argo commit": Here("argo_steps:argo_commit", "In a workflow: commit what the datums wrote."),
        "argo template list": Here("argo_objects:template_list", "List the WorkflowTemplates that the home keeps."),
        "argo template get": Here("argo_objects:template_get", "Show a WorkflowTemplate."),
        "argo template create": Here("argo_objects:template_create", "Keep WorkflowTemplates in the home."),
        "argo template update": Here("argo_objects:template_update", "Replace WorkflowTemplates that the home keeps."),
        "argo template delete": Here("argo_objects:template_delete", "Remove WorkflowTemplates."),
        "argo template lint": Here("argo_lint:template_lint", "Check WorkflowTemplates in files."),
        "argo cluster-template list": Here("argo_objects:cluster_template_list", "List the ClusterWorkflowTemplates that the home keeps."),
        "argo cluster-template get": Here("argo_objects:cluster_template_get", "Show a ClusterWorkflowTemplate."),
        "argo cluster-template create": Here("argo_objects:cluster_template_create", "Keep ClusterWorkflowTemplates in the home."),
        "argo cluster-template update": Here("argo_objects:cluster_template_update", "Replace ClusterWorkflowTemplates that the home keeps."),
        "argo cluster-template delete": Here("argo_objects:cluster_template_delete", "Remove ClusterWorkflowTemplates."),
        "argo cluster-template lint": Here("argo_lint:cluster_template_lint", "Check ClusterWorkflowTemplates in files."),
        "argo cron list": Here("argo_objects:cron_list", "List the CronWorkflows that the home keeps."),
        "argo cron get": Here("argo_objects:cron_get", "Show a CronWorkflow."),
        "argo cron create": Here("argo_objects:cron_create", "Keep CronWorkflows in the home."),
        "argo cron update": Here("argo_objects:cron_update", "Replace CronWorkflows that the home keeps."),
        "argo cron delete": Here("argo_objects:cron_delete", "Remove CronWorkflows."),
        "argo cron lint": Here("argo_lint:cron_lint", "Check CronWorkflows in files."),
        "argo cron suspend": Here("argo_objects:cron_suspend", "Have CronWorkflows start nothing."),
        "argo cron resume": Here("argo_objects:cron_resume", "Have CronWorkflows start again."),
    },
    "What Git declares": {
        "sync": Here("sync:sync_command", "Make the home what a folder of a Git repository declares."),
        "list sync": Here("syncs:list_sync", "List the folders in Git that the home is made like."),
        "inspect sync": Here("syncs:inspect_sync", "Show what a folder in Git declares, and how it does."),
        "delete sync": Here("syncs:delete_sync", "Forget a folder in Git; what it declared stays."),
    },
    "Kubeflow": {
        "export assets": Here("export_kubeflow_assets:export_assets", "Write assets of a Dagster project as a pipeline of Kubeflow."),
        "export files": Here("export_files:export_files", "Write the files of a commit to a bucket, where others find them by the commit's id."),
        "export kubeflow": Here("export_kubeflow:export_kubeflow", "Write pipelines as a pipeline of Kubeflow."),
        "kubeflow stage": Here("kubeflow_tasks:stage", "In a task of Kubeflow: get the datums of an exported pipeline."),
        "kubeflow commit": Here("kubeflow_tasks:commit", "In a task of Kubeflow: commit what the datums wrote."),
        "kubeflow head": Here("kubeflow_tasks:head", "In a task of Kubeflow: get the id of the newest commit of a branch."),
        "kubeflow get": Here("kubeflow_tasks:get", "In a task of Kubeflow: get files of a commit."),
        "kubeflow put": Here("kubeflow_tasks:put", "In a task of Kubeflow: commit an artifact."),
        "kubeflow diff": Here("kubeflow_tasks:diff", "In a task of Kubeflow: get what changed between commits."),
    },
    "The rest": {
        "dev": Here("serve:dev", "Start Dagster's UI, its daemon, the commit sensors, services, spouts and Deployments."),
        "react": Here("react:react", "React to commits at once beside your own Dagster project."),
        "dev pipeline": Here("dev_pipeline:dev_pipeline", "Run a pipeline whenever its file or its code changes."),
        "deploy local": Here("deploy:deploy_local", "Try all of it on a Kubernetes cluster."),
        "deploy kubernetes": Here("deploy:deploy_kubernetes", "Install or upgrade it on a Kubernetes cluster."),
        "undeploy": Here("deploy:undeploy", "Remove it from a Kubernetes cluster."),
        "metrics": Here("metrics:metrics", "Give Prometheus figures of jobs, datums and commits."),
        "config": Here("config:config", "Show the settings in force and where each comes from."),
        "config update context": Here("config:update_context", "Choose the active project."),
        "config get context": Here("config:get_context", "Show the home and the active project."),
        "config list context": Here("config:list_context", "List the contexts."),
        "config get active-context": Here("config:get_active_context", "Show the name of the context."),
        "config set active-context": Here("config:set_active_context", "Choose the context."),
        "sql query": Here("sql_query:sql_query", "Read the answer to a query into a file."),
        "collect garbage": Here("collect:collect_garbage", "Free the space of what nothing refers to any more."),
        "inspect cluster": Here("metadata:inspect_cluster", "Show the home as a whole."),
        "upgrade": Here("upgrade:upgrade", "Bring the record of an older release to this one's schema."),
        "extract": Here("extract:extract", "Write all that the home holds to a file, folder or bucket."),
        "restore": Here("restore:restore", "Fill an empty home with what an extract, or another home, holds."),
        "import extract": Here("import_extract:import_extract", "Read what `pachctl extract` of Pachyderm 1.x wrote."),
        "import cluster": Here("import_cluster:import_cluster", "Read a Pachyderm 2.x cluster through its S3 gateway."),
        "fsck": Here("fsck:fsck", "Check a home, repair it, or rebuild a record that was lost."),
        "version": Here("version:version", "Show the version."),
        "completion": Here("completion:completion", "Print a script for completion in a shell."),
        "delete all": Here("delete_all:delete_all", "Remove every pipeline, repo and project."),
    },
}
COMMANDS: Mapping[str, Entry] = {words: entry for section in SECTIONS.values() for words, entry in section.items()}

VERBS = {
    "argo": "Check and run workflows of Argo.",
    "create": "Make projects, repos, branches, pipelines, secrets.",
    "update": "Change projects, repos and pipelines.",
    "edit": "Change a pipeline in an editor, or what is noted on objects.",
    "export": "Write pipelines for other systems.",
    "extract": "Print a pipeline, or write all that the home holds.",
    "check": "Look whether something takes too long.",
    "inspect": "Show one thing.",
    "kubeflow": "What tasks of Kubeflow Pipelines run.",
    "list": "List things.",
    "delete": "Remove things.",
    "start": "Open a commit or a transaction, or start a pipeline again.",
    "finish": "Close a commit, or do what a transaction holds.",
    "resume": "Make a transaction the active one again.",
    "wait": "Wait for commits and jobs.",
    "flush": "Wait for everything downstream.",
    "squash": "Remove commits, not what they wrote.",
    "forget": "Give up the content of outputs.",
    "clear": "Take back what was put into an open commit.",
    "draw": "Draw a history, or a graph of pipelines.",
    "find": "Find commits by what they changed.",
    "walk": "Follow provenance.",
    "subscribe": "Follow new commits.",
    "put": "Write files.",
    "get": "Read files.",
    "glob": "Find files by pattern.",
    "copy": "Copy files.",
    "collect": "Free space.",
    "diff": "Compare files.",
    "next": "Take the next datum, in user code.",
    "stop": "Stop a pipeline or a job, or leave a transaction.",
    "rerun": "Run a pipeline again.",
    "restart": "Begin datums anew.",
    "retry": "Send output again.",
    "sql": "Read databases.",
    "import": "Come from Pachyderm.",
    "run": "Run cron inputs, one datum, or services.",
    "validate": "Check a pipeline file.",
    "dev": "Serve a home, or work on a pipeline.",
    "deploy": "Install on Kubernetes.",
}

_BELOW = {
    "argo node": "Answer nodes of workflows.",
    "argo template": "Templates of workflows that the home keeps.",
    "argo cluster-template": "Templates of workflows of all namespaces that the home keeps.",
    "argo cron": "CronWorkflows that the home keeps.",
}

OLD_NAMES: Mapping[str, Entry] = {
    "create-repo": OldName(COMMANDS["create repo"], "REPO", as_given),
    "update-repo": OldName(COMMANDS["update repo"], "REPO", as_given),
    "inspect-repo": OldName(COMMANDS["inspect repo"], "REPO", as_given),
    "list-repo": OldName(COMMANDS["list repo"], "", as_given),
    "delete-repo": OldName(COMMANDS["delete repo"], "[REPO]", as_given),
    "create-branch": OldName(COMMANDS["create branch"], "REPO BRANCH", reference),
    "set-branch": Here("branches:set_branch", "Move a branch to a commit."),
    "list-branch": OldName(COMMANDS["list branch"], "REPO", as_given),
    "delete-branch": OldName(COMMANDS["delete branch"], "REPO BRANCH", reference),
    "start-commit": OldName(COMMANDS["start commit"], "REPO [BRANCH]", on_master),
    "finish-commit": OldName(COMMANDS["finish commit"], "REPO COMMIT", reference),
    "inspect-commit": OldName(COMMANDS["inspect commit"], "REPO COMMIT", reference),
    "delete-commit": OldName(COMMANDS["delete commit"], "REPO COMMIT", reference),
    "list-commit": OldName(COMMANDS["list commit"], "[REPO]", as_given),
    "flush-commit": OldName(COMMANDS["flush commit"], "REPO/COMMIT ...", with_slash),
    "subscribe-commit": OldName(COMMANDS["subscribe commit"], "REPO [BRANCH]", reference),
    "put-file": Here("put_file:put_file_appending", "Append files to what a branch or an open commit holds."),
    "get-file": OldName(COMMANDS["get file"], "REPO COMMIT PATH", reference),
    "list-file": OldName(COMMANDS["list file"], "REPO COMMIT [PATH]", reference),
    "glob-file": OldName(COMMANDS["glob file"], "REPO COMMIT PATTERN", reference),
    "inspect-file": OldName(COMMANDS["inspect file"], "REPO COMMIT PATH", reference),
    "diff-file": OldName(COMMANDS["diff file"], "REPO COMMIT PATH [REPO] [COMMIT] [PATH]", two_references),
    "copy-file": OldName(COMMANDS["copy file"], "REPO COMMIT PATH REPO COMMIT PATH", two_references),
    "delete-file": OldName(COMMANDS["delete file"], "REPO COMMIT PATH", reference),
    "create-pipeline": OldName(COMMANDS["create pipeline"], "", as_given),
    "update-pipeline": OldName(COMMANDS["update pipeline"], "", as_given),
    "inspect-pipeline": OldName(COMMANDS["inspect pipeline"], "PIPELINE", as_given),
    "list-pipeline": OldName(COMMANDS["list pipeline"], "", as_given),
    "edit-pipeline": OldName(COMMANDS["edit pipeline"], "PIPELINE", as_given),
    "extract-pipeline": OldName(COMMANDS["extract pipeline"], "PIPELINE", as_given),
    "delete-pipeline": OldName(COMMANDS["delete pipeline"], "[PIPELINE]", as_given),
    "start-pipeline": OldName(COMMANDS["start pipeline"], "PIPELINE", as_given),
    "stop-pipeline": OldName(COMMANDS["stop pipeline"], "PIPELINE", as_given),
    "list-job": OldName(COMMANDS["list job"], "[ID]", as_given, {"expand": True}),
    "inspect-job": OldName(COMMANDS["inspect job"], "JOB", as_given),
    "stop-job": OldName(COMMANDS["stop job"], "JOB", as_given),
    "delete-job": OldName(COMMANDS["delete job"], "JOB", as_given),
    "list-datum": OldName(COMMANDS["list datum"], "JOB", as_given),
    "inspect-datum": OldName(COMMANDS["inspect datum"], "JOB DATUM", as_given),
    "restart-datum": OldName(COMMANDS["restart datum"], "JOB FILE[,FILE]", as_given),
    "garbage-collect": OldName(COMMANDS["collect garbage"], "", as_given),
    "get-logs": OldName(COMMANDS["logs"], "", as_given),
    "delete-all": OldName(COMMANDS["delete all"], "", as_given),
}
"""Pachyderm 1.x's forms. They work; help does not list them."""


def _words_of(verb: str) -> Mapping[str, Entry]:
    """The commands of a verb, by what follows it."""
    return {words.removeprefix(f"{verb} "): entry for words, entry in COMMANDS.items() if words.startswith(f"{verb} ")}


def _config_group() -> LazyGroup:
    below: dict[str, dict[str, Entry]] = {verb: {} for verb in GONE_CONFIG}
    for words, entry in _words_of("config").items():
        verb, noun = words.split()
        below.setdefault(verb, {})[noun] = entry
    help = "Contexts: the home, and its active project."
    groups = {verb: LazyGroup(verb, entries=entries, groups={}, unlisted=GONE_CONFIG.get(verb, {}), help=help) for verb, entries in below.items()}
    return CommandWithGroup("config", alone=COMMANDS["config"], groups=groups, unlisted={"import-kube": GONE_CONFIG["delete"]["context"]})


def _group(verb: str, *, unlisted: Mapping[str, Entry], help: str) -> LazyGroup:
    entries: dict[str, Entry] = {}
    below: dict[str, dict[str, Entry]] = {}
    for words, entry in _words_of(verb).items():
        first, _, rest = words.partition(" ")
        if rest:
            below.setdefault(first, {})[rest] = entry
        else:
            entries[first] = entry
    groups = {noun: LazyGroup(noun, entries=found, groups={}, unlisted={}, help=_BELOW[f"{verb} {noun}"]) for noun, found in below.items()}
    return LazyGroup(verb, entries=entries, groups=groups, unlisted=unlisted, help=help)


HYPHENATED: Mapping[str, Entry] = {words.replace(" ", "-"): entry for words, entry in COMMANDS.items() if words.count(" ") == 1}
"""1.x's way of writing, for commands that 1.x did not have yet; they take today's arguments."""

SYNONYMS: Mapping[tuple[str, str], Entry] = {(verb, "commitV2"): COMMANDS[f"{verb} commit"] for verb in ("squash", "delete")}
"""What Pachyderm 2.8 calls a command that takes one commit instead of a set; here that is the same one."""


def root_group(name: str) -> LazyGroup:
    """The whole command line, called `name`."""
    groups: dict[str, LazyGroup] = {}
    for verb, help in VERBS.items():
        gone = {noun: entry for (found, noun), entry in {**GONE_NOUNS, **SYNONYMS}.items() if found == verb}
        if verb in COMMANDS:
            groups[verb] = CommandWithGroup(verb, alone=COMMANDS[verb], groups={}, unlisted={**_words_of(verb), **gone})
        else:
            groups[verb] = _group(verb, unlisted=gone, help=help)
    config = _config_group()
    root = LazyGroup(
        name,
        entries={words: entry for words, entry in COMMANDS.items() if " " not in words and words != config.name and words not in groups},
        groups={**groups, "config": config},
        unlisted={**HYPHENATED, **OLD_NAMES, **GONE},
        sections=SECTIONS,
        help=f"Versioned data and the pipelines that run on it. `{name} COMMAND --help` shows a command's options and an example.",
    )
    root.params.append(version_option())
    return root
