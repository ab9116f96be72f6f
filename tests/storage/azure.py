"""Makes a container in Azurite, Azure's emulator, for tests: obstore makes none."""

import base64
import hashlib
import hmac
import urllib.request

from pachyderm_dagster.clock import SystemClock

ACCOUNT = "devstoreaccount1"
# Not a secret: the emulator's documented one, https://learn.microsoft.com/azure/storage/common/storage-use-azurite
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def make_container(endpoint: str, name: str) -> None:
    """`endpoint` is the emulator's, as `http://127.0.0.1:10000`."""
    date = SystemClock().now().strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    text = "\n".join(["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in sorted(headers.items())), resource])
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"{endpoint}/{ACCOUNT}/{name}?restype=container", method="PUT", headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    )
    request.add_header("Content-Length", "0")
    urllib.request.urlopen(request, timeout=30).close()
