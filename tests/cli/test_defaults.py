"""Defaults of pipelines on the command line."""

import json
from typing import Any

import pytest

from tests.cli.pachctl import Pachctl
from tests.records import lose_record


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """A repo, and two pipelines that read it; one of them says how often it tries."""
    pachctl("create", "repo", "books")
    create(pachctl, "plain")
    create(pachctl, "stubborn", datum_tries=9)
    return pachctl


def create(pachctl: Pachctl, name: str, *, verb: str = "create", **fields: Any) -> None:
    document = {"pipeline": {"name": name}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}, **fields}
    pachctl(verb, "pipeline", stdin=json.dumps(document).encode())


def change(pachctl: Pachctl, verb: str, *words: str, **body: Any) -> list[dict[str, Any]]:
    return pachctl(verb, "defaults", *words, "-o", "json", stdin=json.dumps({"create_pipeline_request": body}).encode()).documents


def tries(pachctl: Pachctl, name: str) -> tuple[int, int]:
    """The version of a pipeline, and how often it tries a datum."""
    document = pachctl("inspect", "pipeline", name, "-o", "json").document
    return document["version"], document["spec"]["datum_tries"]


def test_defaults_are_shown_as_they_were_given(pachctl: Pachctl) -> None:
    assert pachctl("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}
    change(pachctl, "create", "--cluster", datumTries=5)
    assert pachctl("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {"datumTries": 5}}
    assert pachctl("inspect", "defaults", "--project", "default").document == {"create_pipeline_request": {}}


def test_new_pipeline_gets_them_and_old_ones_stay(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    create(books, "later")
    assert [tries(books, name) for name in ("plain", "stubborn", "later")] == [(1, 3), (1, 9), (1, 5)]
    document = books("inspect", "pipeline", "later", "-o", "json").document
    assert "datum_tries" not in json.loads(document["user_spec_json"])
    assert json.loads(document["effective_spec_json"])["datum_tries"] == 5


def test_update_brings_them_to_a_pipeline(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    create(books, "plain", verb="update")
    assert tries(books, "plain") == (2, 5)


def test_regenerate_updates_what_changes_and_nothing_else(books: Pachctl) -> None:
    made = change(books, "create", "--cluster", "--regenerate", datum_tries=5)
    assert [document.get("name") for document in made] == [None, "plain"]
    assert [tries(books, name) for name in ("plain", "stubborn")] == [(2, 5), (1, 9)]
    change(books, "update", "--cluster", "--regenerate", datum_timeout="1h")
    assert [tries(books, name) for name in ("plain", "stubborn")] == [(3, 3), (2, 9)]
    books("delete", "defaults", "--cluster", "--regenerate")
    assert "datum_timeout" not in books("inspect", "pipeline", "stubborn", "-o", "json").document["spec"]


def test_reprocess_runs_old_datums_again(books: Pachctl) -> None:
    books.put("books@master:/a", "one")
    books("flush", "commit", "books@master")
    change(books, "create", "--cluster", "--regenerate", datum_tries=5)
    change(books, "update", "--cluster", "--reprocess", datum_tries=6)
    jobs = books("list", "job", "-p", "plain", "-o", "json").documents
    books("wait", "job", f"plain@{jobs[0]['id']}")
    jobs = books("list", "job", "-p", "plain", "-o", "json").documents
    assert (jobs[0]["version"], jobs[0]["data_processed"], jobs[0]["data_skipped"]) == (3, 1, 0)
    assert {job["version"] for job in books("list", "job", "-p", "stubborn", "-o", "json").documents} == {1}


def test_dry_run_lists_what_regenerate_then_does(books: Pachctl) -> None:
    would = change(books, "create", "--cluster", "--dry-run", datum_tries=5, description="of all")
    assert [(one["name"], one["version"], one["changes"]) for one in would] == [("plain", 2, ["datum_tries", "description"]), ("stubborn", 2, ["description"])]
    assert tries(books, "plain") == (1, 3)
    assert books("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}
    done = change(books, "create", "--cluster", "--regenerate", datum_tries=5, description="of all")
    assert [one["spec"] for one in done[1:]] == [one["spec"] for one in would]


def test_project_has_its_own_which_come_first(books: Pachctl) -> None:
    books("create", "project", "lab")
    books("create", "repo", "books", "--project", "lab")
    change(books, "create", "--cluster", datum_tries=5)
    change(books, "create", "--project", "lab", datum_tries=7)
    spec = {"pipeline": {"name": "own"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}}
    books("create", "pipeline", "--project", "lab", stdin=json.dumps(spec).encode())
    spec["pipeline"] = {"name": "named", "project": {"name": "lab"}}
    books("create", "pipeline", stdin=json.dumps(spec).encode())
    assert [tries(books, name) for name in ("lab/own", "lab/named")] == [(1, 7), (1, 7)]
    books("delete", "defaults", "--project", "lab", "--regenerate")
    assert [tries(books, name) for name in ("lab/own", "lab/named", "plain")] == [(2, 5), (2, 5), (1, 3)]


def test_dry_run_of_a_pipeline_prints_the_effective_specification(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    spec = {"pipeline": {"name": "x"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}}
    assert books("create", "pipeline", "--dry-run", stdin=json.dumps(spec).encode()).document["datum_tries"] == 5
    assert books.fail("inspect", "pipeline", "x") == "pipeline-not-found"


def test_transaction_takes_them_with_what_comes_after(books: Pachctl) -> None:
    books("start", "transaction")
    change(books, "create", "--cluster", datum_tries=5)
    create(books, "later")
    assert books("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}
    assert books("list", "transaction", "-o", "json").document["requests"] == ["create defaults --cluster", "create pipeline later"]
    books("finish", "transaction")
    assert [tries(books, name) for name in ("plain", "stubborn", "later")] == [(1, 3), (1, 9), (1, 5)]


def test_transaction_makes_a_project_and_a_pipeline_in_it(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    books("start", "transaction")
    books("create", "project", "lab")
    books("create", "repo", "lab/books")
    spec = {"pipeline": {"name": "x"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}}
    books("create", "pipeline", "--project", "lab", stdin=json.dumps(spec).encode())
    books("finish", "transaction")
    assert tries(books, "lab/x") == (1, 5)


def test_transaction_regenerates_at_its_end(books: Pachctl) -> None:
    books("start", "transaction")
    change(books, "create", "--cluster", "--regenerate", datum_tries=5)
    assert tries(books, "plain") == (1, 3)
    books("finish", "transaction")
    assert [tries(books, name) for name in ("plain", "stubborn")] == [(2, 5), (1, 9)]


def test_lost_record_is_rebuilt_with_them(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    change(books, "create", "--project", "default", datum_tries=6)
    create(books, "later")
    before = [books("inspect", "pipeline", name, "-o", "json").document["user_spec_json"] for name in ("plain", "later")]
    lose_record()
    books("fsck", "--rebuild")
    assert books("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {"datum_tries": 5}}
    assert books("inspect", "defaults", "--project", "default").document == {"create_pipeline_request": {"datum_tries": 6}}
    assert [books("inspect", "pipeline", name, "-o", "json").document["user_spec_json"] for name in ("plain", "later")] == before


def test_project_that_goes_takes_its_defaults_along(pachctl: Pachctl) -> None:
    pachctl("create", "project", "lab")
    change(pachctl, "create", "--project", "lab", datum_tries=7)
    pachctl("delete", "project", "lab")
    pachctl("create", "project", "lab")
    assert pachctl("inspect", "defaults", "--project", "lab").document == {"create_pipeline_request": {}}


def test_delete_all_leaves_none(pachctl: Pachctl) -> None:
    change(pachctl, "create", "--cluster", datum_tries=7)
    pachctl("delete", "all", "--yes")
    assert pachctl("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}


def test_what_cannot_be_is_refused(books: Pachctl) -> None:
    change(books, "create", "--cluster", datum_tries=5)
    empty = b'{"create_pipeline_request": {}}'
    assert books.fail("create", "defaults", "--cluster", stdin=empty) == "defaults-exist"
    assert books.fail("delete", "defaults", "--project", "default") == "defaults-not-found"
    assert books.fail("update", "defaults", "--project", "nowhere", stdin=empty) == "project-not-found"
    assert books.fail("update", "defaults", "--cluster", stdin=b'{"create_pipeline_request": {"input": {"cross": []}, "nonsense": 1}}') == "spec-invalid"
    assert "--cluster" in books.misuse("inspect", "defaults")
    assert "--cluster" in books.misuse("inspect", "defaults", "--cluster", "--project", "default")


def test_defaults_that_break_a_pipeline_change_nothing(books: Pachctl) -> None:
    create(books, "named", description="x")
    assert books.fail("create", "defaults", "--cluster", "--regenerate", stdin=b'{"create_pipeline_request": {"output_branch": "a b"}}') == "spec-invalid"
    assert books("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}
    assert tries(books, "plain") == (1, 3)


def test_pipelines_that_would_name_a_secret_that_is_missing_stay_as_they_are(books: Pachctl) -> None:
    uses = {"secrets": [{"name": "warehouse", "key": "password", "env_var": "PASSWORD"}]}
    body = json.dumps({"create_pipeline_request": {"transform": uses}}).encode()
    assert books.fail("create", "defaults", "--cluster", "--regenerate", stdin=body) == "secret-not-found"
    assert books("inspect", "defaults", "--cluster").document == {"create_pipeline_request": {}}
    assert tries(books, "plain")[0] == 1
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "stringData": {"password": "word"}}
    books("create", "secret", "-f", "-", stdin=json.dumps(secret).encode())
    books("create", "defaults", "--cluster", "--regenerate", stdin=body)
    assert tries(books, "plain")[0] == 2


def test_defaults_that_a_transaction_makes_are_changed_in_it(books: Pachctl) -> None:
    books("start", "transaction")
    change(books, "create", "--cluster", datum_tries=4)
    books("update", "defaults", "--cluster", "--regenerate", stdin=b'{"create_pipeline_request": {"datum_tries": 5}}')
    books("finish", "transaction")
    assert tries(books, "plain") == (2, 5)
