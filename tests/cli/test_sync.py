"""A home as a folder of a Git repository declares it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl, process
from tests.syncing.git_folder import CRON, PIPES, TEMPLATE, GitFolder


@pytest.fixture
def declared(tmp_path: Path) -> GitFolder:
    found = GitFolder(tmp_path / "team")
    found.write(pipes__yaml=PIPES, argo__yaml=f"{TEMPLATE}---\n{CRON}")
    return found


def _done(pachctl: Pachctl, *words: str) -> list[tuple[str, str, str]]:
    return [(one["action"], one["kind"], one["name"]) for one in pachctl.json("sync", *words)]


ALL = [
    ("create", "repo", "texts"),
    ("create", "pipeline", "count"),
    ("create", "pipeline", "sum"),
    ("create", "WorkflowTemplate", "steps"),
    ("create", "CronWorkflow", "nightly"),
]


def _versions(pachctl: Pachctl) -> dict[str, int]:
    return {one["name"]: one["version"] for one in pachctl.json("list", "pipeline")}


def test_sync_makes_what_is_declared_and_nothing_twice(pachctl: Pachctl, declared: GitFolder) -> None:
    assert sorted(_done(pachctl, declared.source)) == sorted(ALL)
    assert _versions(pachctl) == {"count": 1, "sum": 1}
    assert _done(pachctl, declared.source) == []
    assert _versions(pachctl) == {"count": 1, "sum": 1}


def test_pipelines_of_one_sync_are_one_change(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    assert len({one["id"] for one in pachctl.json("list", "job")}) == 1


def test_what_changed_is_updated_alone(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    declared.write(pipes__yaml=PIPES.replace("wc -c", "wc -w"), argo__yaml=f"{TEMPLATE.replace('hello {{', 'bye {{')}---\n{CRON}")
    assert _done(pachctl, declared.source) == [("update", "pipeline", "count"), ("update", "WorkflowTemplate", "steps")]
    assert _versions(pachctl) == {"count": 2, "sum": 1}
    pachctl("argo", "submit", "--from", "cronwf/nightly")
    assert "bye night" in pachctl("argo", "logs", "@latest").out


def test_comment_or_order_is_no_change(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    first, second = PIPES.split("---\n")
    declared.write(pipes__yaml=f"{second}---\n# Another comment.\n{first}")
    assert _done(pachctl, declared.source) == []


def test_dry_run_shows_the_difference_and_changes_nothing(pachctl: Pachctl, declared: GitFolder) -> None:
    assert len(_done(pachctl, declared.source, "--dry-run")) == len(ALL)
    assert _versions(pachctl) == {} and pachctl.json("list", "sync") == []
    pachctl("sync", declared.source)
    declared.write(pipes__yaml=PIPES.replace("wc -c", "wc -w"))
    (change,) = pachctl.json("sync", declared.source, "--dry-run")
    assert (change["action"], change["name"], change["file"]) == ("update", "count", "prod/pipes.yaml")
    assert [line for line in change["difference"].splitlines() if line.startswith(("- ", "+ ", "-  ", "+  "))] == [
        "-  - wc -c /pfs/texts/* > /pfs/out/n",
        "+  - wc -w /pfs/texts/* > /pfs/out/n",
    ]
    assert "+  - wc -w /pfs/texts/*" in pachctl("sync", declared.source, "--dry-run").out
    assert _versions(pachctl) == {"count": 1, "sum": 1}


def test_what_is_declared_no_more_is_told_and_goes_with_prune_only(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    declared.write(pipes__yaml=PIPES.split("---\n")[0], argo__yaml=TEMPLATE, repo__yaml="repo: {name: texts}\n")
    answer = pachctl("sync", declared.source)
    assert "note: pipeline sum is declared no more, and stays; --prune removes it" in answer.err
    assert "note: CronWorkflow nightly is declared no more" in answer.err
    assert set(_versions(pachctl)) == {"count", "sum"}
    (found,) = pachctl.json("inspect", "sync", "team-prod")
    assert {one["name"] for one in found["things"] if not one["declared"]} == {"sum", "nightly"}
    (line,) = [line for line in pachctl("inspect", "sync", "team-prod").out.splitlines() if "nightly" in line]
    assert line.split()[2:] == ["Healthy", "declared", "no", "more"]
    assert pachctl.json("list", "sync")[0]["status"] == "OutOfSync"
    assert sorted(_done(pachctl, declared.source, "--prune")) == [("remove", "CronWorkflow", "nightly"), ("remove", "pipeline", "sum")]
    assert set(_versions(pachctl)) == {"count"}
    assert pachctl.json("list", "sync")[0]["status"] == "Synced"
    assert pachctl.fail("argo", "submit", "--from", "cronwf/nightly") == "kept-object-not-found"
    assert _done(pachctl, declared.source, "--prune") == []


def test_repos_stay_with_what_they_hold(pachctl: Pachctl, declared: GitFolder) -> None:
    declared.write(repo__yaml="repo: {name: photos}\ndescription: Many.\n")
    pachctl("sync", declared.source)
    assert pachctl.json("inspect", "repo", "photos")[0]["description"] == "Many."
    declared.write(repo__yaml=None)
    assert "repo photos is declared no more, and stays with what it holds" in pachctl("sync", declared.source, "--prune").err
    pachctl("inspect", "repo", "photos")


def test_what_somebody_changed_since_is_as_declared_again(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    other = declared.root / "other.yaml"
    other.write_text(PIPES.split("---\n")[0].replace("wc -c", "wc -l"))
    pachctl("update", "pipeline", "-f", str(other))
    pachctl("delete", "pipeline", "sum")
    assert _done(pachctl, declared.source) == [("update", "pipeline", "count"), ("create", "pipeline", "sum")]


OTHER = TEMPLATE.replace("name: steps", "name: other")
READS = "pipeline: {name: a}\ninput: {pfs: {repo: count, glob: /}}\n"
RUNS = "transform: {cmd: [x]}\n"
WRONG = [
    ("bad__yaml", PIPES.replace("glob", "glub"), "prod/bad.yaml:3: input.pfs.glub: unknown field", "spec-invalid"),
    ("bad__json", '{"pipeline": {"name": "x"},\n "input": {"pfs": {"repo": "texts"}},\n "transform": {}}', "prod/bad.json:2: input.pfs", "spec-invalid"),
    ("bad__yaml", OTHER.replace("entrypoint: hello", "entrypoint: hi"), "prod/bad.yaml:5: spec.entrypoint", "spec-invalid"),
    ("bad__yaml", "\n\nname: x\n", "prod/bad.yaml:3: is no pipeline", "spec-invalid"),
    ("bad__yaml", PIPES, "pipeline 'count' is declared at prod/bad.yaml:2 and at prod/pipes.yaml:2", "declared-twice"),
    ("bad__yaml", TEMPLATE.replace("name: steps", "name: ../x"), "prod/bad.yaml:3: metadata.name: '../x' names no object", "spec-invalid"),
    ("bad__yaml", f"{READS}transform: {{cmd: [x], secrets: [{{name: s, key: k, env_var: K}}]}}", "prod/bad.yaml:1: ", "secret-not-found"),
    ("bad__yaml", f"{READS}transform:\n  build: {{path: nope, language: python}}", "prod/bad.yaml:4: transform.build.path: 'nope' is not in", "spec-invalid"),
    ("bad__yaml", f"{READS}transform: {{build: {{path: pipes.yaml, language: python}}}}", "transform.build.path: 'pipes.yaml' is a file", "spec-invalid"),
    ("bad__yaml", f'{READS}description: !!bool "x"\n', "prod/bad.yaml: not YAML: 'x' is no !!bool that can be read, at line 3", "spec-invalid"),
    ("bad__yaml", f"{READS}a:\n- {'7' * 6000}\n", "7...' is no !!int that can be read, at line 4, column 3", "spec-invalid"),
    (
        "bad__yaml",
        f"{READS.replace('count', 'b')}{RUNS}---\n{READS.replace('name: a', 'name: b').replace('count', 'a')}{RUNS}",
        "prod/bad.yaml:1: pipelines depend on each other: 'a' reads 'b', 'b' reads 'a'",
        "provenance-cycle",
    ),
    ("bad__yaml", f"{READS.replace('count', 'a')}{RUNS}", "prod/bad.yaml:1: pipeline 'a' would read its own output", "provenance-cycle"),
    (
        "bad__yaml",
        "\nrepo: {name: t, project: nope}",
        "prod/bad.yaml:2: repo: project 'nope' does not exist; projects: 'default';",
        "project-not-found",
    ),
    ("bad__yaml", f"{READS.replace('name: a', 'name: a, project: nope')}{RUNS}", "prod/bad.yaml:1: pipeline: project 'nope'", "project-not-found"),
    ("bad__yaml", f"{READS.replace('repo: count', 'repo: count, project: nope')}{RUNS}", "prod/bad.yaml:2: input: project 'nope'", "project-not-found"),
    (
        "bad__yaml",
        "\nrepo: {name: count}",
        "pipeline at prod/pipes.yaml:2, which has its repo by itself, and as a repo at prod/bad.yaml:2",
        "declared-twice",
    ),
    ("zzz__yaml", "repo: {name: count}", "and as a repo at prod/zzz.yaml:1", "declared-twice"),
    (
        "bad__yaml",
        "pipeline: {name: texts}\ninput: {cron: {name: t, spec: '@daily'}}\ntransform: {cmd: [x]}",
        "prod/bad.yaml:1: repo 'texts' exists already",
        "repo-exists",
    ),
]


@pytest.mark.parametrize(("name", "text", "where", "code"), WRONG)
def test_whatever_is_wrong_is_told_with_its_line_and_nothing_is_changed(
    pachctl: Pachctl, declared: GitFolder, name: str, text: str, where: str, code: str
) -> None:
    pachctl("create", "repo", "texts")
    declared.write(**{name: text})
    answer = pachctl.run("sync", declared.source)
    assert (answer.status, answer.code) == (1, code)
    assert where in answer.err
    assert _versions(pachctl) == {} and pachctl.fail("argo", "submit", "--from", "wftmpl/steps") == "kept-object-not-found"


def test_failure_is_remembered_until_it_is_mended(pachctl: Pachctl, declared: GitFolder) -> None:
    commit = declared.write(repo__yaml="repo: {name: photos}\n")
    pachctl("sync", declared.source)
    declared.write(repo__yaml="repo: {nam: photos}\n")
    assert pachctl.fail("sync", declared.source) == "spec-invalid"
    (kept,) = pachctl.json("list", "sync")
    assert (kept["name"], kept["commit"]) == ("team-prod", commit)
    assert "prod/repo.yaml:1: repo.nam" in kept["error"]
    fixed = declared.write(repo__yaml="repo: {name: photos}\n")
    pachctl("sync", declared.source)
    (kept,) = pachctl.json("list", "sync")
    assert (kept["commit"], kept["error"]) == (fixed, "")


def test_inspect_tells_how_what_is_declared_does(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    pachctl("stop", "pipeline", "sum")
    (found,) = pachctl.json("inspect", "sync", "team-prod")
    assert {f"{one['kind']} {one['name']}": one["health"] for one in found["things"]} == {
        "pipeline count": "Progressing",
        "pipeline sum": "Suspended",
        "WorkflowTemplate steps": "Healthy",
        "CronWorkflow nightly": "Healthy",
    }
    assert found["health"] == "Progressing"
    pachctl("delete", "pipeline", "sum")
    assert "Missing" in pachctl("inspect", "sync", "team-prod").out
    pachctl("delete", "sync", "team-prod")
    assert pachctl.fail("inspect", "sync", "team-prod") == "sync-not-found"
    assert set(_versions(pachctl)) == {"count"}


def test_source_folder_comes_along(pachctl: Pachctl, declared: GitFolder) -> None:
    spec = "pipeline: {name: built}\ninput: {pfs: {repo: texts, glob: /}}\ntransform: {build: {path: code, language: python}}\n"
    declared.write(built__yaml=spec, code_in_main__py="print(1)", code_in_settings__json='{"a": 1}')
    pachctl("sync", declared.source)
    assert _done(pachctl, declared.source) == []
    declared.write(code_in_main__py="print(2)")
    assert _done(pachctl, declared.source) == [("update", "pipeline", "built")]
    declared.write(built__yaml=spec.replace("path: code", "path: ../../.."))
    assert "outside of the repository" in pachctl.run("sync", declared.source).err


@pytest.mark.parametrize("link", ["code/secrets", "code"])
def test_source_folder_does_not_lead_out_of_the_repository(pachctl: Pachctl, declared: GitFolder, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text("secret")
    spec = "pipeline: {name: built}\ninput: {pfs: {repo: texts, glob: /}}\ntransform: {build: {path: code, language: python}}\n"
    declared.write(built__yaml=spec, shared__txt="ours")
    (declared.folder / link).parent.mkdir(exist_ok=True)
    (declared.folder / link).symlink_to(outside)
    declared.commit()
    answer = pachctl.run("sync", declared.source)
    assert (answer.status, answer.code) == (1, "spec-invalid")
    assert "prod/built.yaml:3: transform.build.path" in answer.err and "link to what is outside" in answer.err
    (declared.folder / link).unlink()
    declared.write(code_in_main__py="print(1)")
    (declared.folder / "code" / "again.py").symlink_to("main.py")
    declared.commit()
    pachctl("sync", declared.source)


def test_files_are_named_as_the_repository_does(pachctl: Pachctl, declared: GitFolder) -> None:
    spec = "pipeline: {name: built}\ninput: {pfs: {repo: texts, glob: /}}\ntransform: {build: {path: code, language: python}}\n"
    declared.write(built__yaml=spec, code_in_main__py="print(1)")
    (declared.folder / "code" / "nowhere").symlink_to("gone")
    declared.commit()
    said = pachctl.run("sync", declared.source).err
    assert "prod/built.yaml:1: 'prod/code/nowhere' is a link to 'gone'" in said
    assert pachctl.run("sync", declared.source).err == said  # so that --every tells it once


def test_sigterm_leaves_nothing_behind(declared: GitFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    git = shutil.which("git")
    # Files are written, and it stays.
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\n{git} "$@"\ncase "$*" in *checkout-index*) echo begun > {tmp_path}/begun; exec sleep 600;; esac\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    os.mkfifo(tmp_path / "begun")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with process("sync", declared.source, "--every", "60s") as running:
        assert (tmp_path / "begun").read_text() == "begun\n"
        assert list((tmp_path / "tmp").glob("*/files/prod/pipes.yaml"))
        running.terminate()
        running.communicate(timeout=60)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sync_goes_on_after_a_fetch_that_was_killed(pachctl: Pachctl, declared: GitFolder) -> None:
    pachctl("sync", declared.source)
    (head,) = Path(os.environ["PACHYDERM_HOME"]).rglob("FETCH_HEAD")
    head.with_name("shallow.lock").touch()
    declared.write(pipes__yaml=PIPES.replace("wc -c", "wc -w"))
    assert _done(pachctl, declared.source) == [("update", "pipeline", "count")]


def test_two_syncs_do_not_share_a_pipeline(pachctl: Pachctl, declared: GitFolder, tmp_path: Path) -> None:
    pachctl("sync", declared.source)
    other = GitFolder(tmp_path / "others")
    other.write(pipes__yaml=PIPES.split("---\n")[0])
    assert pachctl.fail("sync", other.source) == "sync-conflict"
    assert pachctl.fail("sync", other.source, "--name", "team-prod") == "sync-conflict"
    pachctl("delete", "sync", "team-prod")
    pachctl("sync", other.source)


def test_errors_say_what_to_do(pachctl: Pachctl, declared: GitFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pachctl.fail("sync", f"{declared.root}@mian:prod") == "git-ref-not-found"
    assert pachctl.fail("sync", f"{declared.root}@main~1:prod") == "git-ref-not-found"
    assert "begins with a letter or digit" in pachctl.run("sync", declared.source, "--name", "-x").err
    assert pachctl.fail("sync", declared.source, "--name", "") == "name-invalid"
    assert "--every 1ms is too often for a repository; it takes 1s or more" in pachctl.run("sync", declared.source, "--every", "1ms").err
    assert pachctl.fail("sync", f"{tmp_path}/none@main:prod") == "git-unreachable"
    answer = pachctl.run("sync", f"{declared.root}@main:test")
    assert answer.code == "sync-folder-not-found" and "those that it has at its root: prod" in answer.err
    declared.write(pipes__yaml=None, argo__yaml=None, read__md="# Nothing")
    assert pachctl.fail("sync", declared.source) == "sync-folder-empty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pachctl.fail("sync", declared.source) == "git-missing"


def test_links_are_not_followed(pachctl: Pachctl, declared: GitFolder, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("repo: {name: stolen}\n")
    os.symlink(tmp_path / "secret.yaml", declared.folder / "link.yaml")
    declared.commit()
    pachctl("sync", declared.source)
    assert pachctl.fail("inspect", "repo", "stolen") == "repo-not-found"


def test_values_of_secrets_are_not_shown(pachctl: Pachctl, declared: GitFolder) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {password: rosebud}\n"
    declared.write(secret__yaml=secret)
    assert "rosebud" not in pachctl("sync", declared.source, "--dry-run").out
    pachctl("sync", declared.source)
    declared.write(secret__yaml=secret.replace("rosebud", "sesame"))
    assert _done(pachctl, declared.source) == [("update", "Secret", "keys")]


def test_every_looks_again_and_goes_on_after_a_failure(declared: GitFolder) -> None:
    with process("sync", declared.source, "--every", "1") as running:
        assert running.stderr is not None
        lines = iter(running.stderr.readline, "")
        assert any("5 differed" in line for line in lines)
        declared.write(bad__yaml="name: x\n")
        assert any("error: prod/bad.yaml:1" in line for line in lines)
        commit = declared.write(bad__yaml="repo: {name: photos}\n")
        assert any(f"commit {commit[:12]}" in line and "1 differed" in line for line in lines)
