"""Pipelines: create, update, start, stop, delete. A pipeline is its versions, its repos and the provenance of its output branch."""

import re

import sqlalchemy as sa

from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references, repos
from pachyderm_dagster.pfs.horizon import release_results
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, DEFAULT_PROJECT, BranchName, Origin, RepoName, RepoType
from pachyderm_dagster.pfs.triggers import find_triggers
from pachyderm_dagster.pps import jobs, stopping
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.model import MAX_KUBERNETES_NAME, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.spec import PipelineSpec, UserSpec


def create_pipeline(
    txn: Transaction,
    spec: PipelineSpec,
    *,
    spec_tree: tuple[bytes, int],
    user: UserSpec | None = None,
    update: bool = False,
    reprocess: bool = False,
    default_project: str = DEFAULT_PROJECT,
) -> Pipeline:
    """Makes a pipeline, or with `update` its next version: always a new output commit and job, for the current heads.

    Args:
        spec: effective, with defaults.
        user: what the user gave; None when that was `spec`.
        spec_tree: encoded root and size of a tree that holds the spec as a file, for the spec repo.
        update: an update kills unfinished jobs; one of a pipeline that does not exist creates it.
        reprocess: the version gets a new salt, so that no earlier result counts.

    Raises:
        ExistsError: `pipeline-exists`, `repo-exists`.
        NotFoundError: `repo-not-found`, for an input.
        InvalidError: `provenance-cycle`.
    """
    name = spec.pipeline.in_project(default_project)
    found = find_pipeline(txn, name)
    if found is not None and not update:
        raise ExistsError("pipeline-exists", f"pipeline '{name}' exists already; `pachctl update pipeline` changes it")
    _check_length(name)
    _check_inputs(txn, name, spec)
    now = txn.clock.now()
    if found is None:
        version, state, salt = 1, PipelineState.RUNNING, spec.salt or txn.clock.new_id()
        _create_repos(txn, name, spec)
        _create_cron_repos(txn, name, spec)
        key = txn.insert(t.pipeline, project_id=repos.ensure_project(txn, name.project), name=name.name, version=version, state=state, created=now)
    else:
        # A new version has yet to crash.
        state = found.state if found.state is PipelineState.PAUSED else PipelineState.RUNNING
        reason = found.reason if state is found.state else ""
        key, version = found.key, found.version + 1
        salt = txn.clock.new_id() if reprocess else salt_of_update(found, spec)
        _leave_old_output(txn, found, spec)
        _create_cron_repos(txn, name, spec)
        jobs.stop_all(txn, name, reason=f"the pipeline was updated to version {version}")
        forgotten = {"results": None} if reprocess else {}
        if reprocess:
            release_results(txn, key)
        txn.run(sa.update(t.pipeline).where(t.pipeline.c.id == key).values(version=version, state=state, reason=reason, **forgotten))
    given = UserSpec("") if user is None else user
    stored = {"spec": spec.to_json(), "user_spec": given.document, "user_text": given.text}
    txn.run(sa.insert(t.pipeline_version).values(pipeline_id=key, version=version, salt=salt, set_id=txn.id, created=now, **stored))
    _commit_spec(txn, name, spec_tree)
    if state is PipelineState.RUNNING:
        _connect(txn, name, spec)
    return get_pipeline(txn, name)


def start_pipeline(txn: Transaction, name: RepoName) -> None:
    """Restores the provenance of a stopped pipeline: one new job for the current heads. Starting a running one changes nothing.

    Raises:
        NotFoundError: `pipeline-not-found`.
    """
    pipeline = get_pipeline(txn, name)
    if pipeline.state is PipelineState.PAUSED:
        txn.run(sa.update(t.pipeline).where(t.pipeline.c.id == pipeline.key).values(state=PipelineState.RUNNING, reason=""))
        _connect(txn, name, pipeline.spec)


def stop_pipeline(txn: Transaction, name: RepoName) -> None:
    """Cuts a pipeline off from its inputs and kills its unfinished jobs; commits made meanwhile start nothing.

    Raises:
        NotFoundError: `pipeline-not-found`.
    """
    stopping.cut_off(txn, get_pipeline(txn, name).output)
    stopping.pause(txn, name, reason="the pipeline was stopped")


def rerun_pipeline(txn: Transaction, name: RepoName, *, reprocess: bool = False) -> None:
    """One new job of a running pipeline for the current heads; datums skip as usual, unless `reprocess` makes a version with a new salt.

    A spout has no job; it gets a next version, for which its process is started again.

    Raises:
        NotFoundError: `pipeline-not-found`.
        StateError: `pipeline-stopped`.
    """
    pipeline = get_pipeline(txn, name)
    if pipeline.state is PipelineState.PAUSED:
        raise StateError("pipeline-stopped", f"pipeline '{name}' is stopped; `pachctl start pipeline {name.name}` runs it")
    if reprocess or pipeline.spec.spout is not None:
        create_pipeline(txn, pipeline.spec, spec_tree=spec_tree(txn, name), user=pipeline.user, update=True, reprocess=reprocess, default_project=name.project)
        return
    _connect(txn, name, pipeline.spec)


def delete_pipeline(txn: Transaction, name: RepoName, *, force: bool = False, keep_repo: bool = False) -> None:
    """Removes a pipeline with its jobs, history, cron repos and the branches that only it follows by a trigger, and its output unless `keep_repo`.

    Raises:
        NotFoundError: `pipeline-not-found`.
        StateError: `pipeline-in-use`, when another pipeline reads its output (which `force` overrides).
    """
    pipeline = get_pipeline(txn, name)
    readers = [reader for repo in (name, *_cron_repos(txn, name)) for reader in _readers(txn, repo) if reader != name]
    if readers and not force and not keep_repo:
        names = ", ".join(f"'{reader}'" for reader in readers)
        raise StateError("pipeline-in-use", f"pipeline '{name}' feeds {names}; delete what reads it first, or use --force")
    doomed = [RepoName(name.project, name.name, kind) for kind in (RepoType.META, RepoType.SPEC)] + sorted(_cron_repos(txn, name))
    triggered = _triggered_branches(txn, name)
    unfinished = {job.output_commit for job in jobs.list_job(txn, pipeline=name, unfinished_only=True)}
    jobs.stop_all(txn, name, reason="the pipeline was deleted")
    txn.run(sa.delete(t.job).where(t.job.c.pipeline_id == pipeline.key))
    txn.run(sa.delete(t.pipeline_version).where(t.pipeline_version.c.pipeline_id == pipeline.key))
    release_results(txn, pipeline.key)
    txn.run(sa.delete(t.pipeline).where(t.pipeline.c.id == pipeline.key))
    if keep_repo:
        stopping.cut_off(txn, pipeline.output)
        stopping.fall_back(txn, pipeline.output, unfinished)
    else:
        doomed.append(name)
    for repo in doomed:
        repo_id = repos.find_repo(txn, repo)
        if repo_id is not None:
            repos.remove_repo(txn, repo_id)
    for branch in triggered:
        branches.delete_unused_branch(txn, branch)


def find_pipeline(txn: Transaction, name: RepoName, *, version: int | None = None) -> Pipeline | None:
    """The pipeline, or None; an older version of it when `version` is given."""
    found = _list(txn, sa.and_(t.project.c.name == name.project, t.pipeline.c.name == name.name), version=t.pipeline.c.version if version is None else version)
    return found[0] if found else None


def get_pipeline(txn: Transaction, name: RepoName, *, version: int | None = None) -> Pipeline:
    """The pipeline; an older version of it when `version` is given.

    Raises:
        NotFoundError: `pipeline-not-found`, with the pipelines there are.
    """
    found = find_pipeline(txn, name, version=version)
    if found is None:
        others = ", ".join(repr(other.name.name) for other in list_pipeline(txn, project=name.project)) or "none yet"
        shown = f"pipeline '{name}'" if version is None else f"version {version} of pipeline '{name}'"
        raise NotFoundError("pipeline-not-found", f"{shown} does not exist; pipelines: {others}")
    return found


def list_pipeline(txn: Transaction, *, project: str | None = None) -> list[Pipeline]:
    """The pipelines by name, of every project unless one is named."""
    return _list(txn, sa.true() if project is None else t.project.c.name == project, version=t.pipeline.c.version)


def list_pipeline_of_set(txn: Transaction, set_id: str) -> list[Pipeline]:
    """The pipelines that have a job in a commit set, in the versions that these ran, by name.

    Raises:
        NotFoundError: `commit-set-not-found`.
    """
    commits.get_set(txn, set_id)
    ran = t.job.c.pipeline_id == t.pipeline.c.id
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.pipeline.c.name, t.job.c.version)
        .join_from(t.job, t.pipeline, ran)
        .join(t.project)
        .where(t.job.c.set_id == set_id)
        .order_by(t.project.c.name, t.pipeline.c.name)
    )
    return [get_pipeline(txn, RepoName(row.project, row.name), version=row.version) for row in rows]


def list_version(txn: Transaction, name: RepoName) -> list[Pipeline]:
    """Every version of a pipeline, newest first.

    Raises:
        NotFoundError: `pipeline-not-found`.
    """
    newest = get_pipeline(txn, name)
    return _list(txn, t.pipeline.c.id == newest.key, version=None)


def spec_tree(txn: Transaction, name: RepoName) -> tuple[bytes, int]:
    """The tree of the newest version's commit in the spec repo, as an encoded root, and its size."""
    head = commits.get_commit(txn, references.find_commit(txn, references.Reference(_spec_branch(name).repo, DEFAULT_BRANCH)))
    assert head.tree is not None
    return head.tree, head.size_bytes


def _list(txn: Transaction, chosen: sa.ColumnElement[bool], *, version: sa.ColumnElement[int] | int | None) -> list[Pipeline]:
    """Pipelines in one version, by name; None: in every version, the newest first."""
    counts = sa.or_(t.job.c.version == t.pipeline_version.c.version, t.pipeline_version.c.version == t.pipeline.c.version)
    last = sa.select(t.job.c.state).where(t.job.c.pipeline_id == t.pipeline.c.id, counts).order_by(t.job.c.id.desc()).limit(1).scalar_subquery()
    rows = txn.all(
        sa.select(t.pipeline, t.project.c.name.label("project"), t.pipeline_version, last.label("last_job_state"))
        .join_from(t.pipeline, t.project)
        .join(t.pipeline_version, t.pipeline_version.c.pipeline_id == t.pipeline.c.id)
        .where(chosen, sa.true() if version is None else t.pipeline_version.c.version == version)
        .order_by(t.project.c.name, t.pipeline.c.name, t.pipeline_version.c.version.desc())
    )
    return [
        Pipeline(
            key=row._mapping[t.pipeline.c.id],
            name=RepoName(row.project, row.name),
            version=row._mapping[t.pipeline_version.c.version],
            state=PipelineState(row.state),
            reason=row.reason,
            created=row._mapping[t.pipeline.c.created],
            spec=PipelineSpec.from_json(row.spec),
            user=UserSpec(row.user_spec or row.spec, row.user_text),
            salt=row.salt,
            last_job_state=None if row.last_job_state is None else JobState(row.last_job_state),
            made=row._mapping[t.pipeline_version.c.created],
            is_newest=row._mapping[t.pipeline_version.c.version] == row._mapping[t.pipeline.c.version],
        )
        for row in rows
    ]


def _create_repos(txn: Transaction, name: RepoName, spec: PipelineSpec) -> None:
    is_imported = repos.is_imported(txn, name)
    if repos.find_repo(txn, name) is not None and not is_imported:
        raise ExistsError("repo-exists", f"repo '{name}' exists already, and a pipeline's output repo has its name; choose another name or delete the repo")
    if not is_imported:
        repos.create_repo(txn, name, description=spec.description or f"Output of pipeline {name.name}.")
    for kind in (RepoType.SPEC, RepoType.META):
        repos.create_repo(txn, RepoName(name.project, name.name, kind))


def _check_length(name: RepoName) -> None:
    if len(f"{name.project}-{name.name}-v01") > MAX_KUBERNETES_NAME:
        raise InvalidError("name-invalid", f"'{name}' is too long for a pipeline: with its project it makes more than {MAX_KUBERNETES_NAME} characters")


def _check_inputs(txn: Transaction, name: RepoName, spec: PipelineSpec) -> None:
    """Before anything is made, so that the message names the repos that a user has."""
    for leaf in leaves(spec.input):
        repo = leaf.repo_name(name.project)
        if repo == name:
            raise InvalidError("provenance-cycle", f"pipeline '{name}' would read its own output; read another repo")
        if not isinstance(leaf, CronInput):
            repos.get_repo(txn, repo)


def _create_cron_repos(txn: Transaction, name: RepoName, spec: PipelineSpec) -> None:
    clocks = _clock_repos(name, spec)
    own = _cron_repos(txn, name) if clocks else set()
    for repo in clocks:
        if (repo in own and repos.find_repo(txn, repo) is not None) or repos.is_imported(txn, repo):
            continue
        # One that is not ours has somebody's data in it, which would go with the pipeline.
        repos.create_repo(txn, repo, description=f"Cron tick repo for pipeline {name.name}.")


def _cron_repos(txn: Transaction, name: RepoName) -> set[RepoName]:
    """The tick repos that some version of a pipeline made."""
    if find_pipeline(txn, name) is None:
        return set()
    return {repo for version in list_version(txn, name) for repo in _clock_repos(name, version.spec)}


def _triggered_branches(txn: Transaction, name: RepoName) -> set[BranchName]:
    """The branches that a trigger moves for some version of a pipeline, and that are called after the pipeline since it named none."""
    inputs = [leaf for version in list_version(txn, name) for leaf in leaves(version.spec.input)]
    return {
        BranchName(leaf.repo_name(name.project), leaf.branch)
        for leaf in inputs
        if leaf.trigger is not None and re.fullmatch(rf"{re.escape(name.name)}-trigger-\d+", leaf.branch)
    }


def _clock_repos(name: RepoName, spec: PipelineSpec) -> list[RepoName]:
    return [leaf.repo_name(name.project) for leaf in leaves(spec.input) if isinstance(leaf, CronInput)]


def _commit_spec(txn: Transaction, name: RepoName, spec_tree: tuple[bytes, int]) -> None:
    branch_id, head_id = branches.ensure_branch(txn, _spec_branch(name))
    commit_id = commits.add_commit(txn, branch_id, parent=head_id, origin=Origin.USER)
    commits.close_commit(txn, commit_id, tree=spec_tree[0], size_bytes=spec_tree[1])


def _connect(txn: Transaction, name: RepoName, spec: PipelineSpec) -> None:
    """Gives the output and meta branches their provenance, which opens one commit on each at the end of the transaction."""
    if spec.spout is not None:
        # Its process writes there as any client does.
        branches.ensure_branch(txn, BranchName(name, spec.output_branch))
        return
    _set_triggers(txn, name, spec)
    sources = [BranchName(RepoName(project, repo), branch) for project, repo, branch in spec.upstream_branches(name.project)]
    sources.append(_spec_branch(name))
    never = _unfollowed(name, spec)
    for branch in (BranchName(name, spec.output_branch), stopping.meta_branch(name)):
        branch_id = branches.create_branch(txn, branch, provenance=sources, never=never, by_writer=True)
        txn.touched_branches.add(branch_id)
    txn.taken_outputs.discard(repos.get_repo(txn, name))


def _set_triggers(txn: Transaction, name: RepoName, spec: PipelineSpec) -> None:
    """Lets the branches that say so in the input follow another one."""
    for leaf in leaves(spec.input):
        if leaf.trigger is not None:
            branch, trigger = BranchName(leaf.repo_name(name.project), leaf.branch), leaf.trigger.trigger()
            branch_id, _ = branches.ensure_branch(txn, branch)
            # One that is there already keeps its place in its schedule.
            if find_triggers(txn, [branch_id]).get(branch_id) != trigger:
                branches.create_branch(txn, branch, trigger=trigger)


def _unfollowed(name: RepoName, spec: PipelineSpec) -> set[BranchName]:
    """Branches whose commits start no job: every input that reads one says so."""
    said: dict[BranchName, bool] = {}
    for leaf in leaves(spec.input):
        branch = BranchName(leaf.repo_name(name.project), leaf.branch)
        never = leaf.propagation_spec is not None and leaf.propagation_spec.never
        said[branch] = said.get(branch, True) and never
    return {branch for branch, never in said.items() if never}


def salt_of_update(found: Pipeline, spec: PipelineSpec) -> str:
    """The salt of before, unless the spec sets another one than its last version did: after a reprocess, that of the spec is no news."""
    return spec.salt if spec.salt is not None and spec.salt != found.spec.salt else found.salt


def _leave_old_output(txn: Transaction, old: Pipeline, spec: PipelineSpec) -> None:
    if old.spec.output_branch != spec.output_branch or spec.spout is not None:
        stopping.cut_off(txn, old.output)
    if spec.spout is not None:
        stopping.cut_off(txn, stopping.meta_branch(old.name))


def _readers(txn: Transaction, name: RepoName) -> list[RepoName]:
    repo_id = repos.find_repo(txn, name)
    source = t.branch.alias("source")
    rows = txn.all(
        sa.select(t.branch.c.repo_id)
        .distinct()
        .join_from(t.branch_provenance, source, t.branch_provenance.c.upstream_id == source.c.id)
        .join(t.branch, t.branch_provenance.c.branch_id == t.branch.c.id)
        .where(source.c.repo_id == repo_id)
    )
    found = {repos.repo_name(txn, row.repo_id) for row in rows}
    return sorted(reader for reader in found if reader.type is RepoType.USER)


def _spec_branch(name: RepoName) -> BranchName:
    return BranchName(RepoName(name.project, name.name, RepoType.SPEC), DEFAULT_BRANCH)
