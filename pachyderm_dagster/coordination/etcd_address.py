"""Where etcd is, and how to reach it: `etcd://host:2379,host:2379/prefix?cacert=ca.pem`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from pachyderm_dagster.errors import InvalidError

DEFAULT_PORT = 2379
DEFAULT_PREFIX = "pachyderm-dagster"
DEFAULT_PATIENCE_SECONDS = 10.0
_FORM = "etcd://HOST:PORT[,HOST:PORT]/PREFIX"
_OPTIONS = ("tls", "cacert", "cert", "key", "timeout")


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """An etcd, and where in it things are.

    Attributes:
        endpoints: of its members, as `host:port`; any one that answers will do.
        prefix: of every key.
        cacert, cert, key: files in PEM.
        patience_seconds: how long an answer is waited for, restarts of members included.
    """

    endpoints: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    is_tls: bool = False
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS

    def __str__(self) -> str:
        return f"etcd://{','.join(self.endpoints)}/{quote(self.prefix)}"

    @property
    def url(self) -> str:
        """What `parse_etcd_url` makes the same address of, with `credentials` as its variables: for other processes, which need the same files."""
        files = {name: file for name, file in (("cacert", self.cacert), ("cert", self.cert), ("key", self.key)) if file is not None}
        options = {"tls": "true" if self.is_tls else "false", **files, "timeout": f"{self.patience_seconds:g}"}
        return f"{self}?{urlencode(options)}"

    @property
    def credentials(self) -> dict[str, str]:
        """The variables with user and password; none where etcd asks for none."""
        return {} if self.user is None or self.password is None else {"ETCDCTL_USER": self.user, "ETCDCTL_PASSWORD": self.password}


def parse_etcd_url(url: str, environ: Mapping[str, str]) -> EtcdAddress:
    """Reads a URL; what it leaves out is taken from the variables of etcd's own command line (`settings.ETCD_VARIABLES`).

    Raises:
        InvalidError: `config-invalid`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # The text is not shown: it may hold a password.
        raise _invalid("is no URL") from None
    if parts.scheme != "etcd" or parts.fragment:
        raise _invalid(f"names {parts.scheme!r}")
    options = _options(parts)
    user, password = _credentials(parts, environ)
    files = {name: options.get(name) or environ.get(f"ETCDCTL_{name.upper()}") or None for name in ("cacert", "cert", "key")}
    for name, file in files.items():
        if file is not None and not Path(file).is_file():
            raise _invalid(f"has {name}={file}, which is no file")
    if (files["cert"] is None) != (files["key"] is None):
        raise _invalid("has a client certificate without its key, or a key without one: cert and key go together")
    return EtcdAddress(
        endpoints=tuple(_endpoint(text, place) for place, text in enumerate(parts.netloc.rpartition("@")[2].split(","), 1)),
        prefix=unquote(parts.path).strip("/") or DEFAULT_PREFIX,
        is_tls=_is_tls(options.get("tls"), files),
        user=user,
        password=password,
        patience_seconds=_seconds(options.get("timeout")),
        **files,
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - set(_OPTIONS)
    if unknown:
        raise _invalid(f"has {', '.join(sorted(unknown))} behind the ?, which takes {', '.join(_OPTIONS)}")
    return options


def _credentials(parts: SplitResult, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    if "@" in parts.netloc:
        name, _, password = parts.netloc.rpartition("@")[0].partition(":")
        user: str | None = unquote(name)
        found = unquote(password)
    else:
        # etcdctl takes a password here too.
        name, _, found = environ.get("ETCDCTL_USER", "").partition(":")
        user = name or None
    found = found or environ.get("ETCDCTL_PASSWORD", "")
    if user and not found:
        raise _invalid(f"names the user {user!r} and no password; set ETCDCTL_PASSWORD")
    return user, found or None


def _is_tls(said: str | None, files: Mapping[str, str | None]) -> bool:
    if said not in (None, "true", "false"):
        raise _invalid(f"has tls={said}; it takes true or false")
    return said == "true" or (said is None and any(files.values()))


def _seconds(said: str | None) -> float:
    try:
        seconds = DEFAULT_PATIENCE_SECONDS if said is None else float(said)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise _invalid(f"has timeout={said}; it takes seconds, up to 3600")
    return seconds


def _endpoint(text: str, place: int) -> str:
    """`host:port` of one endpoint; an IPv6 address stands in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        host, port = None, 0
    if not host or "/" in text:
        # The text is not shown: it is part of a password when that has a / in it.
        raise _invalid(f"has no HOST:PORT as endpoint {place}")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _invalid(problem: str) -> InvalidError:
    return InvalidError("config-invalid", f"PACHYDERM_COORDINATION_URL {problem}; it takes database:// or {_FORM}")
