"""Which columns of which assets a pipeline's columns come from, as far as its asset says: each materialization says it again, for there Dagster looks."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError


def declared_lineage(key: dg.AssetKey, metadata: Mapping[str, object]) -> dict[str, dg.MetadataValue]:
    """What an asset says of its columns, as Dagster's value; empty when it says nothing.

    Args:
        metadata: of the asset. `dagster/column_lineage` is what Dagster takes, or, as YAML can say it, `{column: {asset key: column or list of columns}}`.

    Raises:
        InvalidError: `asset-invalid`.
    """
    found = metadata.get(labels.COLUMN_LINEAGE)
    match found:
        case None:
            return {}
        case dg.TableColumnLineageMetadataValue():
            return {labels.COLUMN_LINEAGE: found}
        case dg.TableColumnLineage():
            return {labels.COLUMN_LINEAGE: dg.MetadataValue.column_lineage(found)}
        case Mapping():
            columns = {str(column): list(_read(key, column, read)) for column, read in found.items()}
            return {labels.COLUMN_LINEAGE: dg.MetadataValue.column_lineage(dg.TableColumnLineage(columns))}
        case _:
            raise _refused(key, f"found {type(found).__name__}")


def lineage_warning(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, dg.MetadataValue]:
    """What is wrong with the declared lineage of an output whose columns are known: a column was renamed, or is misspelt.

    Args:
        metadata: of a materialization, with its lineage and its column schema.
    """
    lineage, schema = metadata.get(labels.COLUMN_LINEAGE), metadata.get(labels.COLUMN_SCHEMA)
    if not isinstance(lineage, dg.TableColumnLineageMetadataValue) or not isinstance(schema, dg.TableSchemaMetadataValue):
        return {}
    there = [column.name for column in schema.schema.columns]
    missing = [column for column in lineage.column_lineage.deps_by_column if column not in there]
    if not missing:
        return {}
    said = f"the declared lineage is of {', '.join(map(repr, missing))}, and the output has no such column; its columns: {', '.join(map(repr, there))}"
    return {labels.LINEAGE_WARNING: dg.MetadataValue.text(f"{said}; mend {labels.COLUMN_LINEAGE!r} of the asset")}


def _read(key: dg.AssetKey, column: object, read: object) -> Iterator[dg.TableColumnDep]:
    if not isinstance(read, Mapping):
        raise _refused(key, f"found {type(read).__name__} for column {column!r}")
    for asset, names in read.items():
        if not (isinstance(names, str) or (isinstance(names, Sequence) and all(isinstance(name, str) for name in names))):
            raise _refused(key, f"found {names!r} for column {column!r} of {asset!r}")
        for name in [names] if isinstance(names, str) else names:
            yield dg.TableColumnDep(dg.AssetKey.from_user_string(str(asset)), name)


def _refused(key: dg.AssetKey, found: str) -> InvalidError:
    wanted = "a TableColumnLineage, or {column: {asset key: column, or a list of columns}}"
    return InvalidError("asset-invalid", f"metadata {labels.COLUMN_LINEAGE!r} of asset {key.to_user_string()!r} is to be {wanted}; {found}")
