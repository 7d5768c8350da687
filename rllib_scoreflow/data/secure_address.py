"""The https address of a file that is published under a plain http one, where its server has it."""

import http.client
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

# Where nothing answers at the port of https, every download waits for as long as this first.
_SECONDS = 5.0


def prefer_https(url: str) -> str:
    """Return the https address of a file if the server has the file there, else the address itself.

    The answer is asked for once, without the file (HEAD). Any fault of it, a certificate that is not trusted and a
    redirect back to http among them, means that the server has it not, and the published address serves as before.

    Args:
        url: the published address; one with a port of its own is left as it is, since https has another.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.port is not None:
            return url
        secure = parts._replace(scheme="https").geturl()
        with requests.head(secure, allow_redirects=True, timeout=_SECONDS) as answer:
            found = answer.status_code == requests.codes.ok and answer.url.startswith("https://")
            # Some servers answer every https address with one and the same page.
            return secure if found and "html" not in answer.headers.get("Content-Type", "").lower() else url
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, OSError):
        return url
