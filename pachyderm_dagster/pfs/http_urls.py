"""URLs of http(s): what is asked for, who asks, and what of it may be shown."""

import base64
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from pachyderm_dagster.errors import InvalidError

SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A URL that can be asked for.

    Attributes:
        url: without user and password, so it can be shown.
        authorization: the header of basic authentication that user and password make; None without a user.
    """

    url: str
    authorization: str | None


def split_url(text: str) -> SplitResult:
    """The parts of a URL of any scheme.

    Raises:
        InvalidError: `source-unreadable`.
    """
    try:
        return urlsplit(text)
    except ValueError as error:
        raise InvalidError("source-unreadable", f"{without_user(text)} is no URL: {error}") from error


def parse_http_url(text: str) -> HttpUrl:
    """Reads `http(s)://[USER:PASSWORD@]HOST[:PORT]/...`.

    Raises:
        InvalidError: `source-unreadable`, for what no server could be asked for.
    """
    parts, shown = split_url(text), without_user(text)
    try:
        is_complete = parts.port is None or parts.port > 0
    except ValueError as error:
        raise InvalidError("source-unreadable", f"{shown} cannot be asked for: {error}") from error
    if not parts.hostname or not is_complete:
        raise InvalidError("source-unreadable", f"{shown} cannot be asked for: it names no {'port above 0' if parts.hostname else 'host'}")
    if parts.username is None:
        return HttpUrl(shown, None)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return HttpUrl(shown, f"Basic {base64.b64encode(login).decode()}")


def without_user(text: str) -> str:
    """A URL of http(s) as it may be shown; anything else as it is."""
    scheme, separator, rest = text.partition("://")
    if scheme.lower() not in SCHEMES or not separator:
        return text
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return f"{scheme}://{rest[:end].rpartition('@')[2]}{rest[end:]}"
