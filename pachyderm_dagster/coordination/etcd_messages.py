"""What is said to etcd's gateway, and what it answers: keys and values in base64, numbers as texts."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]
"""JSON of the gateway, as etcd's protocol has it."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as it is. `lease`: 0 without one; `revision`: that of its last change."""

    key: str
    value: str
    lease: int
    revision: int


def encoded(text: str) -> str:
    """A key or value as it is sent."""
    return base64.b64encode(text.encode()).decode()


def behind(prefix: str) -> str:
    """The first key behind all that begin with `prefix`, which ends with a letter, a digit or a slash."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def key_value(message: Message) -> KeyValue:
    """A key out of an answer, which leaves out what is empty or 0."""
    texts = [base64.b64decode(message.get(name, "")).decode() for name in ("key", "value")]
    return KeyValue(texts[0], texts[1], int(message.get("lease", 0)), int(message.get("mod_revision", 0)))


def key_values(answer: Message) -> list[KeyValue]:
    """The keys that a range was answered with."""
    return [key_value(message) for message in answer.get("kvs", ())]


def range_of(key: str, end: str | None = None, **options: object) -> Message:
    """One key, or those from `key` to before `end`. `options` as `limit`, `count_only`."""
    return {"key": encoded(key), **({} if end is None else {"range_end": encoded(end)}), **options}


def get(key: str, end: str | None = None, **options: object) -> Message:
    """As an operation of a transaction."""
    return {"request_range": range_of(key, end, **options)}


def put(key: str, value: str, *, lease: int = 0, and_previous: bool = False) -> Message:
    """As an operation of a transaction; `and_previous`: the answer holds what was there."""
    return {"request_put": {"key": encoded(key), "value": encoded(value), "lease": str(lease), "prev_kv": and_previous}}


def delete(key: str, end: str | None = None) -> Message:
    """As an operation of a transaction."""
    return {"request_delete_range": range_of(key, end)}


def transaction(conditions: Iterable[Message], then: Sequence[Message], otherwise: Sequence[Message] = ()) -> Message:
    """Does `then` when all conditions hold, `otherwise` when one does not."""
    return {"compare": list(conditions), "success": list(then), "failure": list(otherwise)}


def within(inner: Message) -> Message:
    """A transaction as an operation of another one."""
    return {"request_txn": inner}


def is_absent(key: str) -> Message:
    """The condition that there is no such key."""
    return {"key": encoded(key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}


def is_present(key: str) -> Message:
    """The condition that there is such a key."""
    return {"key": encoded(key), "target": "CREATE", "result": "GREATER", "create_revision": "0"}


def is_value(key: str, value: str) -> Message:
    """The condition that the key has this value."""
    return {"key": encoded(key), "target": "VALUE", "result": "EQUAL", "value": encoded(value)}


def is_revision(key: str, revision: int) -> Message:
    """The condition that the key is there and was last changed at this revision."""
    return {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def has_succeeded(answer: Message) -> bool:
    """Whether the conditions of a transaction held."""
    return bool(answer.get("succeeded", False))


def part(answer: Message, place: int, kind: str) -> Message:
    """What an operation of a transaction was answered with; `kind` as `range`, `put`, `txn`."""
    found: Mapping[str, Message] = answer["responses"][place]
    return found[f"response_{kind}"]
