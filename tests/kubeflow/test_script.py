"""The script between stage and commit, in real shells: what becomes of each datum."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.kubeflow.staging import layout
from pachyderm_dagster.storage.content import EMPTY_CONTENT
from pachyderm_dagster.worker.protocol import DatumTask, InputFile
from tests.kubeflow.running import run_user_code
from tests.kubeflow.specs import EDGES, changed, specs

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
BUSYBOX = shutil.which("busybox")
ON_VOLUME = pytest.mark.skipif(BUSYBOX is None, reason="needs busybox-static")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two datums, a and b, whose files have names that shells dislike."""
    data = tmp_path / "data"
    (data / "files").mkdir(parents=True)
    (data / "files" / EMPTY_CONTENT.hash.hex()).touch()
    (data / "datums/0").mkdir(parents=True)
    for number, name in enumerate(("a", "b")):
        path = f"/{name} '$(x)'\n/f"
        file = InputFile("in-put", path, is_dir=False, files=((path, EMPTY_CONTENT),))
        task = DatumTask(id=name * 64, index=number, inputs=(file,), environment={"PACH_DATUM_ID": name * 64})
        (data / f"datums/0/{number:08d}-{task.id}").write_text(layout(task, {}))
    return data


def run(data: Path, shell: str = "sh", *, on_volume: bool = False, path: str = "", **fields: Any) -> tuple[int, dict[str, str], str]:
    """The exit status; how each datum ended; what was said. On a volume the shell is the one that we bring; `path` is the PATH of the image."""
    (spec,) = specs(changed(EDGES, **fields))
    out, env = data.parent / "out", {"PATH": path} if path else {}
    ended = run_user_code(spec, data, out, data.parent / "pfs", shell=f"{BUSYBOX} sh" if on_volume else shell, env=env, on_volume=on_volume)
    states = {file.name[:1]: file.read_text().strip() for file in (out / "ended").iterdir() if not file.name.startswith("share")}
    return ended.returncode, states, ended.stdout + ended.stderr


def command(text: str) -> list[str]:
    return ["sh", "-c", text]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_datum_sees_its_own_files_and_variables(data: Path, shell: str) -> None:
    text = 'cd "$PFS_ROOT" && ls in-put && cp -r in-put out/ && [ "$(ls out)" = in-put ]'
    status, states, said = run(data, shell, transform__cmd=command(text))
    assert (status, states) == (0, {"a": "SUCCESS", "b": "SUCCESS"}), said
    written = [path.relative_to(data.parent / "out/files").parts for path in (data.parent / "out/files").rglob("*") if path.is_file()]
    assert sorted(written) == [(name * 64, "in-put", f"{name} '$(x)'\n", "f") for name in ("a", "b")]


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_may_have_names_that_no_shell_takes(data: Path, shell: str) -> None:
    said = run(data, shell, transform__cmd=["env", "-0"])[2]
    assert f"\0in-put={data.parent}/pfs/in-put/a '$(x)'\n/f\0" in said


def test_all_datums_are_run_although_one_fails(data: Path) -> None:
    status, states, said = run(data, transform__cmd=command("case $PACH_DATUM_ID in a*) exit 3;; esac"))
    assert (status, states) == (3, {"b": "SUCCESS"})
    assert "datum aaaa" in said and "exit status 3" in said
    assert not (data.parent / "out/ended/share-0").exists()


def test_accepted_exit_codes_are_success(data: Path) -> None:
    assert run(data, transform__cmd=command("exit 3"), transform__accept_return_code=[3])[:2] == (0, {"a": "SUCCESS", "b": "SUCCESS"})


def test_a_datum_is_recovered_and_leaves_nothing(data: Path) -> None:
    cmd = command('echo x >"$PFS_ROOT/out/half"; case $PACH_DATUM_ID in a*) exit 3;; esac')
    status, states, _ = run(
        data, transform__cmd=cmd, transform__err_cmd=["sh"], transform__err_stdin=['test -e "$PFS_ROOT/out/half" && test -n "$PACH_DATUM_ID"']
    )
    assert (status, states) == (0, {"a": "RECOVERED", "b": "SUCCESS"})
    assert [path.parent.name[0] for path in (data.parent / "out/files").rglob("half")] == ["b"]


def test_an_error_command_that_fails_recovers_nothing(data: Path) -> None:
    assert run(data, transform__cmd=command("exit 3"), transform__err_cmd=["false"])[:2] == (3, {})


def test_a_command_that_is_not_there_is_not_recovered(data: Path) -> None:
    assert run(data, transform__cmd=["no-such-program"], transform__err_cmd=["true"])[:2] == (127, {})


def test_standard_input_is_what_the_pipeline_says_or_nothing(data: Path) -> None:
    lines = ["it's", "$HOME %s \\n"]
    status, _, said = run(data, transform__cmd=["cat"], transform__stdin=lines)
    assert status == 0 and said == "it's\n$HOME %s \\n\n" * 2
    assert run(data, transform__cmd=["cat"])[2] == ""


def test_a_datum_that_takes_too_long_fails(data: Path) -> None:
    status, states, _ = run(data, transform__cmd=command("case $PACH_DATUM_ID in a*) exec sleep 600;; esac"), datum_timeout="1s")
    assert (status, states) == (137, {"b": "SUCCESS"})


def test_the_command_starts_where_the_pipeline_says(data: Path) -> None:
    assert run(data, transform__cmd=["pwd"], transform__working_dir="/usr")[2] == "/usr\n/usr\n"


def test_links_to_inputs_are_files_of_the_output(data: Path) -> None:
    status, _, said = run(data, transform__cmd=command('ln -s "$(find "$PFS_ROOT/in-put" -type f)" "$PFS_ROOT/out/link"'))
    assert status == 0, said
    assert all(path.is_file() and not path.is_symlink() for path in (data.parent / "out/files").rglob("link"))


def test_kubeflow_is_told_of_the_artifact(data: Path) -> None:
    (spec,) = specs(changed(EDGES, transform__cmd=["true"]))
    file = data.parent / "told/output.json"
    told = json.dumps({"outputs": {"outputFile": str(file)}})
    assert run_user_code(spec, data, data.parent / "out", data.parent / "pfs", told=told).returncode == 0
    (artifact,) = json.loads(file.read_text())["artifacts"]["out"]["artifacts"]
    assert artifact == {"name": "out", "uri": f"file://{data.parent / 'out'}", "metadata": {"pipeline": "edges"}}


@ON_VOLUME
def test_on_a_volume_an_image_needs_no_program_but_its_own(data: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "mkdir").symlink_to(sys.executable)
    program = "import os, pathlib; [print(p, os.readlink(p)) for p in pathlib.Path(os.environ['PFS_ROOT'], 'in-put').rglob('f')]"
    write = "; pathlib.Path(os.environ['PFS_ROOT'], 'out/written').write_text(os.environ['PACH_DATUM_ID'])"
    # Of the image is what it calls, although the shell that we bring has a program of that name.
    status, states, said = run(data, on_volume=True, path=str(image), transform__cmd=["mkdir", "-c", program + write], datum_timeout="60s")
    assert (status, states) == (0, {"a": "SUCCESS", "b": "SUCCESS"}), said
    assert said.count(f"f {data}/files/{EMPTY_CONTENT.hash.hex()}") == 2
    assert [path.read_text() for path in sorted((data.parent / "out/files").rglob("written"))] == ["a" * 64, "b" * 64]


@ON_VOLUME
def test_a_program_that_the_image_has_not_is_not_taken_from_elsewhere(data: Path, tmp_path: Path) -> None:
    status, states, said = run(data, on_volume=True, path=str(tmp_path), transform__cmd=["ls"], transform__err_cmd=["true"])
    assert (status, states) == (127, {})
    assert "ls: not found" in said


@ON_VOLUME
def test_links_to_a_volume_are_files_of_the_output(data: Path) -> None:
    status, _, said = run(data, on_volume=True, transform__cmd=command('cp -r "$PFS_ROOT/in-put" "$PFS_ROOT/out/"'))
    assert status == 0, said
    written = [path for path in (data.parent / "out/files").rglob("f") if path.is_file() and not path.is_symlink()]
    assert len(written) == 2


def test_a_try_on_the_same_folder_runs_what_has_not_ended(data: Path) -> None:
    log = data.parent / "log"
    text = f'echo "$PACH_DATUM_ID" >>{log}; echo x >"$PFS_ROOT/out/$(cat {log} | wc -l)"; case $PACH_DATUM_ID in b*) exit $(cat {data.parent}/code);; esac'
    (data.parent / "code").write_text("3")
    assert run(data, transform__cmd=command(text))[:2] == (3, {"a": "SUCCESS"})
    half = data.parent / "out/files" / ("b" * 64)
    half.mkdir()
    (half / "left").touch()
    (data.parent / "out/ended" / ("b" * 64)).touch()
    (data.parent / "code").write_text("0")
    assert run(data, transform__cmd=command(text))[:2] == (0, {"a": "SUCCESS", "b": "SUCCESS"})
    assert [line[0] for line in log.read_text().splitlines()] == ["a", "b", "b"]
    assert [path.name for path in half.iterdir()] == ["3"]
