"""`collect garbage`, and what inspections say of sizes."""

import os
from pathlib import Path

from tests.cli.pachctl import Pachctl

LARGE = os.urandom(1_200_000)


def age(home: Path) -> None:
    """Makes every object a year old."""
    for path in (home / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def with_garbage(pachctl: Pachctl, home: Path) -> None:
    """A home with a repo, and with what is left of another."""
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("create", "repo", "gone")
    pachctl("put", "file", "gone@master:/large", "-f", "-", stdin=LARGE)
    pachctl("delete", "repo", "gone")
    age(home)


def test_dry_run_says_what_the_next_collection_frees(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    with_garbage(pachctl, environment_of_its_own)
    dry = pachctl("collect", "garbage", "--dry-run", "--grace", "0s", "-o", "json").document
    assert dry["dry_run"] is True
    assert dry["freed_bytes"] > len(LARGE)
    assert dry["head_bytes"] == 18
    assert 18 < dry["live_bytes"] <= dry["kept_bytes"] < 100_000
    assert (dry["held_by"], dry["young_objects"], dry["sparse_objects"], dry["sparse_live_bytes"]) == (None, 0, 0, 0)
    done = pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document
    assert (done["dry_run"], done["freed_objects"], done["freed_bytes"]) == (False, dry["freed_objects"], dry["freed_bytes"])
    assert (done["live_bytes"], done["sparse_objects"], done["sparse_bytes"]) == (None, None, None)
    assert pachctl("get", "file", "books@master:/hamlet").out == "to be or not to be"


def test_people_read_how_much_was_freed(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    with_garbage(pachctl, environment_of_its_own)
    assert pachctl("collect", "garbage", "--dry-run", "--grace", "0").out.startswith("Would free: 1.1")
    lines = pachctl("garbage-collect", "--grace", "0s").out.splitlines()
    assert lines[0].startswith("Freed: 1.1")
    assert lines[-1] == "Files in the heads of branches: 18B"


def test_what_was_given_up_within_the_grace_stays(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    with_garbage(pachctl, environment_of_its_own)
    assert pachctl("collect", "garbage", "-o", "json").document["freed_objects"] == 0


def test_grace_is_a_duration_and_memory_is_not_asked_for(pachctl: Pachctl) -> None:
    assert pachctl.fail("collect", "garbage", "--grace", "soon") == "duration-invalid"
    assert pachctl.fail("garbage-collect", "-m", "1GB") == "option-gone"


def test_inspections_tell_what_writing_stored(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl("put", "file", "books@master:/large", "-f", "-", stdin=LARGE)
    pachctl("put", "file", "books@master:/again", "-f", "-", stdin=LARGE)
    first, second = (pachctl("inspect", "commit", reference, "-o", "json").document for reference in ("books@master^", "books@master"))
    assert (first["size_bytes"], second["size_bytes"]) == (len(LARGE), 2 * len(LARGE))
    assert len(LARGE) < first["stored_bytes"] < len(LARGE) + 10_000
    assert 0 < second["stored_bytes"] < 10_000
    assert pachctl("inspect", "repo", "books", "-o", "json").document["stored_bytes"] == first["stored_bytes"] + second["stored_bytes"]
    assert "Stored: 1.14MiB" in pachctl("inspect", "commit", "books@master^").out


def test_what_jobs_left_is_kept(worked: Pachctl, environment_of_its_own: Path) -> None:
    """Output, datums, what user code printed, and the results that spare running it again."""
    logs, datums = worked("logs", "-p", "count").out, worked.json("list", "datum", "count@master")
    assert "counting /pfs/books/hamlet" in logs
    for _ in range(2):
        age(environment_of_its_own)
        worked("collect", "garbage", "--grace", "0s")
    assert worked("logs", "-p", "count").out == logs
    assert worked.json("list", "datum", "count@master") == datums
    assert worked("get", "file", "count@master:/hamlet").out.strip() == "6"
    worked("delete", "file", "books@master:/bad")
    worked("flush", "commit", "books@master")
    assert worked("list", "job", "-p", "count", "-n", "1", "-o", "json").document["data_processed"] == 0
    assert worked("get", "file", "loud@master:/all").out.split() == ["6", "3"]
