"""What a column of a table takes, made from what a file holds: texts of CSV, values of JSON, values of Arrow."""

import datetime as dt
import decimal
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.sql.vocabulary import FileType

Convert = Callable[[Any], Any]
"""A value for the driver. Raises ValueError or TypeError for one that the column cannot take."""

_BOOLEANS = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}
_WHOLE = re.compile(r"[+-]?[0-9]+")


def converter(type_: sa.types.TypeEngine[Any], dialect: str, held: FileType) -> Convert:
    """What makes values for a column of this type. None stays None; of a type that is not known here a text is left to the database.

    Args:
        held: what the values come from. In a file of JSON a text for a column of JSON is a JSON string; elsewhere it is JSON itself.
    """
    convert = _write_json if held is FileType.JSON and isinstance(type_, sa.JSON) else _by_type(type_)
    adapt = _ADAPT.get(dialect)
    if adapt is None:
        return lambda value: None if value is None else convert(value)
    return lambda value: None if value is None else adapt(convert(value))


def _by_type(type_: sa.types.TypeEngine[Any]) -> Convert:
    if isinstance(type_, sa.DateTime):
        return _datetime if type_.timezone else _naive
    if type_.__visit_name__ == "TINYINT":
        return _tiny
    for kind, convert in _CONVERTERS:
        if isinstance(type_, kind):
            return convert
    return _other


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise ValueError
    return found


def _tiny(value: Any) -> int:
    """What MySQL calls BOOLEAN, and small numbers."""
    if isinstance(value, bool) or (isinstance(value, str) and not _WHOLE.fullmatch(value.strip())):
        return int(_boolean(value))
    return _integer(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal | str):
        raise TypeError
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value.strip()):
            raise ValueError
        return int(value)
    if value != int(value):
        raise ValueError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal | str):
        raise TypeError
    return float(value)


def _decimal(value: Any) -> decimal.Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal | str):
        raise TypeError
    try:
        return decimal.Decimal(repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else value)
    except decimal.InvalidOperation as error:
        raise ValueError from error


def _datetime(value: Any) -> dt.datetime:
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value.strip())
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    raise TypeError


def _naive(value: Any) -> dt.datetime:
    """A time for a column without a zone: that of UTC."""
    moment = _datetime(value)
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _date(value: Any) -> dt.date:
    if isinstance(value, str):
        return dt.date.fromisoformat(value.strip())
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise TypeError


def _time(value: Any) -> dt.time:
    if isinstance(value, str):
        return dt.time.fromisoformat(value.strip())
    if isinstance(value, dt.time):
        return value
    raise TypeError


def _binary(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    raise ValueError


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _json(value: Any) -> str:
    if isinstance(value, str):
        json.loads(value)
        return value
    return _write_json(value)


def _write_json(value: Any) -> str:
    """A value as JSON; of numbers every digit, which `json.dumps` cannot do with a `Decimal`."""
    try:
        return _json_of(value)
    except RecursionError as error:
        raise ValueError from error


def _json_of(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join([f"{json.dumps(str(key))}: {_json_of(held)}" for key, held in value.items()]) + "}"
        case list() | tuple():
            return "[" + ", ".join([_json_of(held) for held in value]) + "]"
        case decimal.Decimal() if value.is_finite():
            return str(value)
        case None | bool() | int() | float() | str():
            return json.dumps(value, allow_nan=False)
        case _:
            return json.dumps(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return _write_json(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _other(value: Any) -> Any:
    return _write_json(value) if isinstance(value, dict) else value


_CONVERTERS: tuple[tuple[Any, Convert], ...] = (
    (sa.Boolean, _boolean),
    (sa.Integer, _integer),
    (sa.Float, _float),
    (sa.Numeric, _decimal),
    (sa.Date, _date),
    (sa.Time, _time),
    (sa.LargeBinary, _binary),
    (sa.BINARY, _binary),
    (sa.VARBINARY, _binary),
    (sa.Uuid, _uuid),
    (sa.JSON, _json),
    (sa.Enum, _text),
    (sa.String, _text),
)


def _for_sqlite(value: Any) -> Any:
    match value:
        case bool():
            return int(value)
        case dt.datetime():
            return value.isoformat(sep=" ")
        case dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case _:
            return value


def _for_mysql(value: Any) -> Any:
    return str(value) if isinstance(value, uuid.UUID) else value


_ADAPT: Mapping[str, Convert] = {"sqlite": _for_sqlite, "mysql": _for_mysql}
