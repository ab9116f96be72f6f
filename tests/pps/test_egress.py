"""Where output goes, as a spec says it."""

import json
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pps.egress import Egress, ObjectStorage, SqlDatabase, SqlFileFormat, SqlSecret, folder_url
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.sql.vocabulary import FileType

DATABASE = {"url": "postgresql://me@host/db", "file_format": {"type": "CSV"}}


def parse(egress: Any) -> PipelineSpec:
    spec = {"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]}, "input": {"pfs": {"repo": "data", "glob": "/"}}, "egress": egress}
    (parsed,) = parse_specs(json.dumps(spec), source="p.json")
    return parsed


@pytest.mark.parametrize(
    ("written", "egress"),
    [
        ({"URL": "s3://bucket/x"}, Egress(object_storage=ObjectStorage("s3://bucket/x"))),
        ({"objectStorage": {"url": "gcs://bucket"}, "tries": 1}, Egress(object_storage=ObjectStorage("gcs://bucket"), tries=1)),
        (
            {"sqlDatabase": {"url": "mysql://me@h/db", "fileFormat": {"type": "PARQUET", "columns": ["a"]}, "secret": {"name": "db", "key": "password"}}},
            Egress(
                sql_database=SqlDatabase(
                    url="mysql://me@h/db", file_format=SqlFileFormat(type=FileType.PARQUET, columns=("a",)), secret=SqlSecret("db", "password")
                )
            ),
        ),
    ],
)
def test_each_form_is_read_and_stored(written: Any, egress: Egress) -> None:
    spec = parse(written)
    assert spec.egress == egress
    assert PipelineSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, "egress: it says not where to"),
        ({"URL": "https://host/x"}, "egress.object_storage.url: 'https://host/x' is no place to write files to"),
        ({"URL": "s3://me:secret@bucket"}, "no user or password"),
        ({"URL": "s3://b", "sql_database": DATABASE}, "an egress goes to one place"),
        ({"URL": "s3://b", "object_storage": {"url": "s3://b"}}, "given already as 'URL'"),
        ({"URL": "s3://b", "tries": 1.5}, "egress.tries: expected a whole number"),
        ({"sql_database": {"url": "postgresql://me@host/db"}}, "egress.sql_database.file_format: required"),
        ({"sql_database": {**DATABASE, "url": "snowflake://me@account/db"}}, "there is no driver here"),
        ({"sql_database": {**DATABASE, "url": "postgresql://me:word@host/db"}}, "holds a password"),
        ({"sql_database": {**DATABASE, "file_format": {"type": "csv"}}}, "expected 'CSV' or 'JSON' or 'PARQUET'"),
        ({"sql_database": {**DATABASE, "file_format": {"type": "CSV", "columns": ["a", "a"]}}}, "file_format.columns: each column is named once"),
        ({"sql_database": {**DATABASE, "secret": {"name": "db"}}}, "egress.sql_database.secret.key: required"),
        ({"s3": "x"}, "egress.s3: unknown field"),
    ],
)
def test_anything_else_is_refused_with_its_path(written: Any, problem: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse(written)
    assert raised.value.code == "spec-invalid"
    assert problem in raised.value.message


def test_other_spellings_of_schemes_are_turned_into_ours() -> None:
    assert [folder_url(f"{scheme}://bucket/x") for scheme in ("s3", "s3a", "gcs", "as")] == ["s3://bucket/x", "s3://bucket/x", "gs://bucket/x", "az://bucket/x"]


def test_the_secret_of_an_egress_has_to_be_there(tmp_path: Path) -> None:
    spec = parse({"sql_database": {**DATABASE, "secret": {"name": "db", "key": "password"}}})
    with pytest.raises(NotFoundError) as raised:
        SecretStore(tmp_path).check_uses(spec)
    assert raised.value.code == "secret-not-found"


def test_where_output_goes_does_not_decide_what_it_is() -> None:
    assert parse({"URL": "s3://one"}).code_version() == parse({"URL": "s3://other"}).code_version()
