"""Whatever column of the record that refers to something is damaged: fsck finds it, does not fail, and leaves a home that works."""

import json
import os
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.cli.main import main
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.engines import connect
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Pachctl
from tests.records import change_record, home_record_url

pytestmark = pytest.mark.file_record

GONE = 9999
NO_ROOT = b"\x00\x11"
COPY = {
    "pipeline": {"name": "copied"},
    "input": {"pfs": {"repo": "data", "glob": "/*"}},
    "transform": {"cmd": ["sh"], "stdin": ["cp /pfs/data/* /pfs/out"]},
}
REFERENCES = [column for table in t.metadata.sorted_tables for column in table.c if column.foreign_keys]
ROOTS = [column for table in t.metadata.sorted_tables for column in table.c if isinstance(column.type, sa.LargeBinary)]
# What was put into an open commit, or a file set, is only in its layer.
NOWHERE_ELSE = {t.commit_layer.c.layer, t.file_set_layer.c.layer}


@pytest.fixture(scope="module")
def full_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a row in every table that refers to something."""
    home, files = tmp_path_factory.mktemp("full-home"), tmp_path_factory.mktemp("files")
    (files / "pipeline.json").write_text(json.dumps(COPY))
    (files / "defaults.json").write_text('{"createPipelineRequest": {"datumTries": 2}}')
    (files / "a").write_text("first " * 100)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PACHYDERM_HOME", str(home))
        for command in (
            "create repo data",
            f"create pipeline -f {files}/pipeline.json",
            f"put file data@master:/a -f {files}/a",
            f"put file data@master:/b -f {files}/a",
            f"put file data@master:/c -f {files}/a",
            "flush commit data@master",
            "delete commit data@master -r",
            "create branch data@release -t master --trigger-commits 2",
            "start commit data@opened",
            f"put file data@opened:/d -f {files}/a",
            f"create defaults --project default -f {files}/defaults.json",
            "start transaction",
            "create repo later",
            "stop transaction",
        ):
            assert main(command.split()) == 0, command
        workspace = open_workspace(os.environ)
        workspace.pfs.get_file_set("data@master")
        with workspace.pfs.create_file_set() as changes:
            changes.put_bytes("/x", b"set aside")
        workspace.close()
    return home


@pytest.fixture
def pachctl(full_home: Path, environment_of_its_own: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Pachctl:
    shutil.copytree(full_home, environment_of_its_own, dirs_exist_ok=True)
    return Pachctl(capsysbinary, monkeypatch)


def damage(column: sa.Column[object], value: object) -> None:
    """Sets a column of the newest row in which it says something, or of the newest."""
    table = column.table
    assert isinstance(table, sa.Table)
    engine = connect(home_record_url())
    with engine.connect() as connection:
        rows: sa.Select[tuple[int]] = sa.select(sa.literal_column("rowid")).select_from(table).order_by(column.is_(None), sa.literal_column("rowid").desc())
        row = connection.execute(rows.limit(1)).scalar()
    engine.dispose()
    assert row is not None
    change_record(sa.update(table).where(sa.literal_column("rowid") == row).values({column: value}))


def check(pachctl: Pachctl, *options: str) -> list[str]:
    """Codes of what fsck finds; what it cannot mend when it is to."""
    answer = pachctl.run("fsck", *options, "-o", "json")
    assert "[internal]" not in answer.err, answer.err
    return [found["code"] for found in answer.documents if not found["fixed"]]


@pytest.mark.parametrize("column", REFERENCES, ids=str)
def test_reference_to_nothing_is_found_and_cut(pachctl: Pachctl, column: sa.Column[object]) -> None:
    damage(column, GONE)
    assert set(check(pachctl)) == {"row-dangling"}
    assert check(pachctl, "--fix") == []
    assert check(pachctl, "--deep") == []
    pachctl("list", "commit", "--all")


@pytest.mark.parametrize("head", [GONE, None])
def test_head_that_is_nowhere_is_found_and_given(pachctl: Pachctl, head: int | None) -> None:
    before = pachctl.json("inspect", "branch", "data@master")
    change_record(sa.update(t.branch).where(t.branch.c.name == "master").values(head_id=head))
    assert set(check(pachctl)) == {"head-missing" if head else "head-none"}
    assert check(pachctl, "--fix") == []
    assert check(pachctl, "--deep") == []
    assert pachctl.json("inspect", "branch", "data@master") == before


@pytest.mark.parametrize("column", ROOTS, ids=str)
def test_root_that_cannot_be_read_is_found_and_mended(pachctl: Pachctl, column: sa.Column[object]) -> None:
    before = [pachctl.json("list", "commit", "--all"), pachctl.json("list", "file", "data@master")]
    damage(column, NO_ROOT)
    unmended = ["layer-damaged"] if column in NOWHERE_ELSE else []
    assert check(pachctl) == (unmended or ["root-damaged"])
    assert check(pachctl, "--fix") == unmended
    assert check(pachctl, "--deep") == unmended
    assert [pachctl.json("list", "commit", "--all"), pachctl.json("list", "file", "data@master")] == before


def test_content_that_the_record_lost_comes_from_the_store(pachctl: Pachctl) -> None:
    change_record(sa.update(t.commit).values(tree=None))
    assert set(check(pachctl)) == {"root-damaged"}
    assert check(pachctl, "--fix") == []
    assert pachctl("get", "file", "data@master:/a").out == "first " * 100


def test_content_that_nobody_tells_of_is_given_up_only_when_asked(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    head = pachctl.json("inspect", "branch", "data@master")[0]["head"]
    change_record(sa.update(t.commit).where(t.commit.c.set_id == head).values(set_id="f" * 32, tree=NO_ROOT))
    assert "root-damaged" in check(pachctl, "--fix")
    pachctl("fsck", "--fix", "--mark-lost")
    assert pachctl.json("inspect", "commit", "data@master")[0]["error"] == "fsck: part of its content is lost"


def test_damaged_root_ends_a_collection_before_anything_is_removed(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    objects = sorted((environment_of_its_own / "objects").rglob("*"))
    change_record(sa.update(t.commit).where(t.commit.c.tree.is_not(None)).values(tree=NO_ROOT))
    assert pachctl.fail("collect", "garbage", "--grace", "0s") == "root-damaged"
    assert set(objects) <= set((environment_of_its_own / "objects").rglob("*"))
    assert pachctl.fail("get", "file", "data@master:/a") == "root-damaged"
