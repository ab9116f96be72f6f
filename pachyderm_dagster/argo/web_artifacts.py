"""Artifacts that web servers give and take."""

import base64
import json
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from pachyderm_dagster.argo.parameters import ClientCertAuth, HttpArtifact, HttpAuth, KeyRef, OAuth2Auth
from pachyderm_dagster.argo.secret_keys import Secrets, find_secret
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, PachydermError

_SECONDS = 60
_SCHEMES = ("http://", "https://")


def fetch_web(place: HttpArtifact, target: Path, secrets: Secrets) -> None:
    """Writes a file that a web server gives.

    Raises:
        InvalidError: `url-invalid`.
        NotFoundError: `artifact-not-found`, `workflow-secret-not-found`.
        ExecutionError: `artifact-not-fetched`.
    """
    request = _request(place, secrets)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=_context(place.auth, secrets)) as response, open(target, "wb") as file:
            shutil.copyfileobj(response, file)
            if response.length:
                # The library says nothing of an answer that breaks off.
                raise _not_fetched(f"{place.url} broke off {response.length} bytes before the end; try again")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise NotFoundError("artifact-not-found", f"there is nothing at {place.url}; correct the address") from error
        raise _not_fetched(f"{place.url} answered with the status {error.code}") from error
    except OSError as error:
        raise _not_fetched(f"{place.url} gave no answer: {error}") from error


def store_web(place: HttpArtifact, source: Path, secrets: Secrets) -> None:
    """Puts a file (PUT) to a web server. Errors as `fetch_web`, and ExecutionError `artifact-not-stored`."""
    if source.is_dir():
        raise _not_stored(f"{place.url} takes a file, and the artifact is a folder; leave out `archive: {{none: {{}}}}`")
    request = _request(place, secrets, method="PUT")
    with open(source, "rb") as file:
        request.data = file
        request.add_unredirected_header("Content-Length", str(source.stat().st_size))
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=_context(place.auth, secrets)):
                pass
        except urllib.error.HTTPError as error:
            raise _not_stored(f"{place.url} answered with the status {error.code}") from error
        except OSError as error:
            raise _not_stored(f"{place.url} gave no answer: {error}") from error


def _request(place: HttpArtifact, secrets: Secrets, *, method: str = "GET") -> urllib.request.Request:
    if not place.url.startswith(_SCHEMES):
        raise InvalidError("url-invalid", f"{place.url!r} is no address of a file; write it with http:// or https://")
    request = urllib.request.Request(place.url, headers={one.name: one.value for one in place.headers}, method=method)
    # It goes to no other host to which the server sends.
    if place.auth is not None and (authorization := _authorization(place.auth, secrets)):
        request.add_unredirected_header("Authorization", authorization)
    return request


def _authorization(auth: HttpAuth, secrets: Secrets) -> str:
    if auth.basic_auth is not None:
        return _basic(auth.basic_auth.username_secret, auth.basic_auth.password_secret, secrets)
    return f"Bearer {_token(auth.oauth2, secrets)}" if auth.oauth2 is not None else ""


def _basic(user: KeyRef | None, password: KeyRef | None, secrets: Secrets) -> str:
    pair = f"{find_secret(user, secrets) or ''}:{find_secret(password, secrets) or ''}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _token(auth: OAuth2Auth, secrets: Secrets) -> str:
    """A token for the credentials of a client (RFC 6749, 4.4)."""
    url = find_secret(auth.token_url_secret, secrets) or ""
    if not url.startswith(_SCHEMES):
        raise InvalidError("url-invalid", "the address of the tokens is none; write it with http:// or https:// in the Secret that 'tokenURLSecret' names")
    scope = {"scope": " ".join(auth.scopes)} if auth.scopes else {}
    form = urlencode({"grant_type": "client_credentials", **scope, **{one.key: one.value for one in auth.endpoint_params}})
    request = urllib.request.Request(url, data=form.encode())
    request.add_unredirected_header("Authorization", _basic(auth.client_id_secret, auth.client_secret_secret, secrets))
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            return str(json.load(response)["access_token"])
    except urllib.error.HTTPError as error:
        raise _not_fetched(f"{url} gave no token: it answered with the status {error.code}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_fetched(f"{url} gave no token: {error}") from error


def _context(auth: HttpAuth | None, secrets: Secrets) -> ssl.SSLContext | None:
    return _with_certificate(auth.client_cert, secrets) if auth is not None and auth.client_cert is not None else None


def _with_certificate(auth: ClientCertAuth, secrets: Secrets) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The library reads them from files only.
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        certificate.write_text(find_secret(auth.client_cert_secret, secrets) or "")
        key.write_text(find_secret(auth.client_key_secret, secrets) or "")
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError("artifact-invalid", f"the certificate of 'clientCert' and its key are none: {error}; write both as PEM") from error
    return context


def _not_fetched(message: str) -> PachydermError:
    return ExecutionError("artifact-not-fetched", message)


def _not_stored(message: str) -> PachydermError:
    return ExecutionError("artifact-not-stored", message)
