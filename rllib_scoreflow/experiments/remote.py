"""An experiment file by its ``https://`` address."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments.spec import as_name, read_raw
from rllib_scoreflow.experiments.yaml import MAX_BYTES, parse_yaml

_SECONDS = (5.0, 20.0)  # to connect, and between two pieces of the answer
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class RemoteFile:
    """An experiment file that was read from the network.

    Attributes:
        experiments: name -> raw keys, as `read_experiments` returns them.
        origin: the address as messages show it: without what follows a question mark, which may be a key.
        stem: the name of the file without its ending.
    """

    experiments: dict[str, dict[str, Any]]
    origin: str
    stem: str


def read_address(address: str) -> RemoteFile:
    """Read an experiment file over HTTPS; nothing of it is kept.

    Only YAML: a Python file would run as the user, and nobody has looked at it.

    Args:
        address: ``https://host/path/name.yaml``.

    Raises:
        InputError: it is no such address, there is no answer, or the answer is no experiment file.
    """
    try:
        parts = urlsplit(address)
        host, ending = parts.hostname, PurePosixPath(unquote(parts.path)).suffix
    except ValueError as error:
        raise InputError(f"{quote(address)} is no address ({shorten(str(error))}); correct it.") from None
    if parts.scheme != "https" or not host:
        reason = "anybody on the way could change what arrives" if parts.scheme == "http" else "it cannot be read"
        raise InputError(f"{quote(address)} does not begin with https://, so {reason}; give such an address or a path.")
    if parts.username or parts.password:
        raise InputError(f"https://{host}/...: an address with a password is not taken; download the file yourself.")
    origin = parts._replace(query="", fragment="").geturl()
    if ending == ".py":
        raise InputError(f"{shorten(origin)} is Python, which runs as you: download it, read it, and give its path.")
    if ending not in _ENDINGS:
        raise InputError(f"{shorten(origin)} does not end in .yaml, .yml or .json; give an experiment file's address.")
    text = _fetch(address, shorten(origin))
    stem = as_name(PurePosixPath(unquote(parts.path)).stem).strip(".")
    return RemoteFile(read_raw(parse_yaml(text, origin), origin), origin, stem or "remote")


def _fetch(address: str, origin: str) -> str:
    import requests
    import urllib3.exceptions

    remedy = "download it elsewhere and give its path"
    try:
        with requests.Session() as session:
            for _ in range(_MOST_REDIRECTS):
                with session.get(address, stream=True, timeout=_SECONDS, allow_redirects=False) as answer:
                    if answer.status_code in _REDIRECTS and "Location" in answer.headers:
                        address = urljoin(address, answer.headers["Location"])
                        if urlsplit(address).scheme != "https":
                            raise InputError(f"{origin} leads to an address without https://; {remedy}.")
                        continue
                    return _text_of(answer, origin, remedy)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise InputError(f"{origin} cannot be read ({_reason(error)}); {remedy}.") from error
    except (ValueError, UnicodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{origin} cannot be read ({shorten(str(error), 80)}); {remedy}.") from error
    raise InputError(f"{origin} leads from one address to the next without end; {remedy}.")


def _text_of(answer: Any, origin: str, remedy: str) -> str:
    if answer.status_code != 200:
        found = f"{answer.status_code} {shorten(answer.reason or '', 60)}".strip()
        raise InputError(f"{origin} cannot be read (the server answers {found}); correct the address.")
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise InputError(f"{origin} is a web page and no file; give the address of the file itself (on GitHub: Raw).")
    content = b""
    for block in answer.iter_content(1 << 14):
        content += block
        if len(content) > MAX_BYTES:
            raise InputError(f"{origin} has more than {MAX_BYTES} bytes; give the address of an experiment file.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{origin} is not a text file; {remedy}.") from None


def _reason(error: BaseException) -> str:
    """The plainest words for why no answer came."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here"
    if isinstance(error, requests.Timeout):
        return "there was no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server"
    return type(error).__name__
