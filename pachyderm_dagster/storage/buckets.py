"""Which bucket a storage URL names and how it is reached: S3 and its kin, Google Cloud Storage, Azure.

Settings are the usual variables, which obstore reads itself, and those of `QUERY` behind a `?` in the URL, which win. Secrets are never taken from
the URL: it is shown in messages.
"""

import datetime as dt
import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError, StorageError
from pachyderm_dagster.storage.storage_urls import CREDENTIALS_FOLDER, shown, unknown_url

MAX_RETRIES = 5
RETRY_SECONDS = 30
# Keys are those of obstore and, in capitals and behind AWS_, AZURE_ and GOOGLE_, those of the environment.
_RETRIES = ("max_retries", "retry_seconds")
QUERY: Mapping[str, tuple[str, ...]] = {
    "s3": (
        "region",
        "endpoint",
        "virtual_hosted_style_request",
        "server_side_encryption",
        "sse_kms_key_id",
        "sse_bucket_key_enabled",
        "skip_signature",
        "request_payer",
        "unsigned_payload",
        "checksum_algorithm",
        "disable_tagging",
        "s3_express",
        "profile",
    ),
    "gs": ("skip_signature",),
    "az": ("account_name", "endpoint", "skip_signature", "use_emulator", "use_azure_cli", "use_fabric_endpoint"),
}
# With any of these set, obstore finds the credentials without help.
_S3_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_IN_FOLDER = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
_READ_AGAIN_SECONDS = 60
# So long before their end obstore asks for the next ones.
_OBSTORE_MARGIN_SECONDS = 300
# Botocore hands out credentials that live for ten minutes at least; none is used for longer.
_CREDENTIALS_SECONDS = 600

Bucket = S3Store | GCSStore | AzureStore | MemoryStore
# Any: each store's signature knows only its own settings, and what is none of them is refused before.
_STORES: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}


def connect_bucket(url: str) -> Bucket:
    """The bucket, and the prefix in it, that a URL names; nothing is asked of it yet.

    Raises:
        InvalidError: `storage-url-invalid`.
        StorageError: `storage-denied`, when boto3 is asked for credentials and has none.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory" and not parts.netloc and not parts.path and not parts.query:
        return MemoryStore()
    if parts.scheme not in QUERY or not parts.netloc or "@" in parts.netloc or parts.fragment:
        raise unknown_url(url)
    settings = _settings(parts.scheme, parts.query)
    retries = {"max_retries": _number(settings, "max_retries", MAX_RETRIES)}
    arguments: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "client_options": {"allow_http": True},  # only says that an endpoint may start with http://
        "retry_config": {**retries, "retry_timeout": dt.timedelta(seconds=_number(settings, "retry_seconds", RETRY_SECONDS))},
    }
    if parts.scheme == "s3":
        arguments |= _s3_credentials(settings)
    try:
        bucket: Bucket = _STORES[parts.scheme](parts.netloc, **settings, **arguments)
        return bucket
    except (BaseError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise InvalidError("storage-url-invalid", f"the bucket of {shown(url)} cannot be used: {reason}; correct the URL or the variables") from error


def _settings(scheme: str, query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    for key in found:
        if key not in QUERY[scheme] and key not in _RETRIES:
            raise InvalidError(
                "storage-url-invalid",
                f"a {scheme}:// storage URL has no setting {key!r}; it takes {', '.join((*QUERY[scheme], *_RETRIES))}; everything else, "
                "and every secret, is a variable of the environment",
            )
    return found


def _number(settings: dict[str, str], key: str, default: int) -> int:
    text = settings.pop(key, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise InvalidError("storage-url-invalid", f"{key} of the storage URL is {text!r}; it takes a whole number")
    return int(text)


def _s3_credentials(settings: dict[str, str]) -> dict[str, Any]:
    """What boto3 finds (profiles, SSO, assumed roles, container and instance roles), when the variables say nothing and it is installed."""
    profile = settings.pop("profile", None)
    # obstore reads the process's environment itself, so that there is no other one to pass.
    folder = os.environ.get(CREDENTIALS_FOLDER, "")  # noqa: TID251
    if profile is None and "skip_signature" not in settings and _is_for_a_while(folder):
        return {"credential_provider": lambda: _read_credentials(folder)}
    given = any(os.environ.get(name) for name in _S3_CREDENTIALS)  # noqa: TID251
    if profile is None and (given or "skip_signature" in settings):
        return {}
    if importlib.util.find_spec("boto3") is None:
        if profile is not None:
            raise InvalidError("extra-missing", "a profile of S3 is read by boto3, which is not installed: pip install 'pachyderm-dagster[s3]'")
        return {}
    # Imported by name because it takes longer than most commands, and only who has no variables needs it.
    boto3, exceptions = importlib.import_module("boto3"), importlib.import_module("botocore.exceptions")
    provider = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider
    try:
        session = boto3.Session(profile_name=profile)
        if session.get_credentials() is None:
            raise StorageError(
                "storage-denied",
                "no credentials for S3 were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_SKIP_SIGNATURE=true",
            )
        return {"credential_provider": provider(session, ttl=dt.timedelta(seconds=_CREDENTIALS_SECONDS))}
    except exceptions.BotoCoreError as error:
        raise StorageError("storage-denied", f"the credentials for S3 cannot be used: {error}; check ~/.aws/config and AWS_PROFILE") from error


def _is_for_a_while(folder: str) -> bool:
    """Whether a folder has credentials of a session, which end. Others are variables too, and are read but once."""
    return bool(folder) and (Path(folder) / _IN_FOLDER["token"]).exists()


def _read_credentials(folder: str) -> dict[str, Any]:
    """What is in the files now, to be read again in a minute.

    Raises:
        OSError: obstore says that they cannot be had.
    """
    found: dict[str, Any] = {}
    # Resolved once: a volume of the kubelet's changes all its files at once, by a link.
    place = (Path(folder) / _IN_FOLDER["token"]).resolve(strict=True).parent
    for key, name in _IN_FOLDER.items():
        found[key] = (place / name).read_text(encoding="utf-8").strip()
    return {**found, "expires_at": SystemClock().now() + dt.timedelta(seconds=_OBSTORE_MARGIN_SECONDS + _READ_AGAIN_SECONDS)}
