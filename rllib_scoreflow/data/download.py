"""Fetch a published file into the cache: resumable, checked by size, form and hash."""

import base64
import binascii
import http.client
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import requests
import urllib3.exceptions
from filelock import FileLock
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from urllib3.util.retry import Retry

from rllib_scoreflow.data.secure_address import prefer_https
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.atomic import atomic_path
from rllib_scoreflow.files.digest import file_digest

# A machine without a network must say so at once: no retry of the connection itself.
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 20.0
_RETRIES = Retry(
    total=3,
    connect=0,
    read=2,
    status=3,
    backoff_factor=0.3,
    status_forcelist=(429, 500, 502, 503, 504),
    respect_retry_after_header=False,
    raise_on_status=False,
)
# A block that is not complete when the connection breaks is lost, so it is small.
_BLOCK_BYTES = 1 << 16


class _UnusableAnswer(Exception):
    """The server's answer is not the file; the message says how."""


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    fault: Callable[[Path], str | None] | None = None,
) -> None:
    """Download `url` to `path`, unless `path` exists; processes that ask at once wait their turn.

    What arrives is kept in `path`.part, and the next call continues there if the server still has
    the same file. A complete file is checked against what is known of it and against the server's size and MD5 (where
    it tells them), and recorded by its SHA-256 in `path`.sha256, see `check_recorded_hash`. The record outlives the
    file: where no hash is known, what is downloaded again has to be what was downloaded first. What fails is removed.

    Args:
        url: the address; that of https is taken where the server has the file there, see `prefer_https`.
        path: the file to make.
        size: its bytes, where known.
        sha256: its hexadecimal hash, where known.
        fault: says what keeps a file from being of its format, or None; a server need not say how much it sends, and a
            page that asks for a password arrives like any other file.

    Raises:
        InputError: no connection, a refusal of the server, an answer that is not the file, or a folder that
            cannot be written; it names the address, the file and the folder to place it in by hand.
    """
    part = path.with_name(f"{path.name}.part")
    by_hand = f"fetch it elsewhere and place it as {path.name} in the folder {path.parent}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        for own in (lock, part, _validator_file(part)):
            _remove_foreign(own)
        with FileLock(lock):
            if path.exists():
                return
            with requests.Session() as session:
                for scheme in ("http://", "https://"):
                    session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
                url = prefer_https(url)
                promised, md5 = _transfer(session, url, part, size)
            problem = _problem(part, {promised, size}, md5, sha256, fault)
            if problem is not None:
                problem = (
                    f"the download of {url} is damaged ({problem}) and was removed; run again, or place the "
                    f"file as {path.name} in the folder {path.parent}"
                )
            elif sha256 is None and _recorded_hash(path) not in (None, file_digest(part).encode()):
                problem = (
                    f"what {url} sends has another SHA-256 than its first download, which {_sidecar(path)} keeps; if "
                    "its publisher has replaced it, remove that record and run again"
                )
            if problem is not None:
                part.unlink()
                _validator_file(part).unlink(missing_ok=True)
                raise InputError(problem)
            with atomic_path(_sidecar(path)) as temporary:
                temporary.write_text(f"{file_digest(part)}  {path.name}\n")
            part.replace(path)
            _validator_file(part).unlink(missing_ok=True)
    except _UnusableAnswer as error:
        raise InputError(f"cannot download {url}: {error}; or {by_hand}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError) as error:
        have = part.stat().st_size if part.is_file() else 0
        if not have:
            part.unlink(missing_ok=True)
        kept = f" ({have} bytes are kept, run again to go on)" if have else ""
        raise InputError(f"cannot download {url}: {_reason(error)}{kept}; or {by_hand}") from error
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}); free or unlock the folder, or set "
            "RLLIB_SCOREFLOW_CACHE to another one"
        ) from error


def check_recorded_hash(path: Path, sha256: str) -> None:
    """Refuse a downloaded file that is no longer what was downloaded.

    A file placed by hand has no record and passes.

    Args:
        path: the file.
        sha256: its hexadecimal SHA-256 now.

    Raises:
        InputError: the record in `path`.sha256 differs.
    """
    if _recorded_hash(path) not in (None, sha256.encode()):
        raise InputError(
            f"{path}: the file was changed after its download (its SHA-256 is not the one in "
            f"{_sidecar(path).name}); remove both files to download it again"
        )


def _recorded_hash(path: Path) -> bytes | None:
    """What the record of a download begins with, which need not be a hash; None without a record."""
    sidecar = _sidecar(path)
    if not sidecar.is_file():
        return None
    with sidecar.open("rb") as file:
        return (file.read(1000).split() or [b""])[0]


def _transfer(session: requests.Session, url: str, part: Path, known_size: int | None) -> tuple[int | None, str | None]:
    """Bring `part` up to its full length; return the size and MD5 (hex) the server promised."""
    headers = {"Accept-Encoding": "identity"}
    have = part.stat().st_size if part.exists() else 0
    validator = _validator_file(part)
    held = _read_validator(validator)
    resume = {"Range": f"bytes={have}-", "If-Range": held} if have and held else {}
    response = _get(session, url, headers | resume)
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if resume and (response.status_code != 206 or start is None or int(start[1]) != have):
        # The file on the server is another one now, or ranges are not served: from the beginning.
        resumed = False
        if response.status_code != 200:
            response.close()
            response = _get(session, url, headers)
    else:
        resumed = bool(resume)
    with response:
        response.raise_for_status()
        if response.status_code != (206 if resumed else 200):
            found = f"{response.status_code} {shorten(response.reason or '', 60)}".strip()
            raise _UnusableAnswer(f"the server answers {found} in place of the file")
        promised, md5 = _promised_length(response), _promised_md5(response)
        if not resumed:
            have = 0
            _remember_validator(response, validator)
        size = have + promised if promised is not None else None
        with _open_own(part, "ab" if resumed else "wb") as file:
            for block in _with_progress(response, url, have, size or known_size):
                file.write(block)
                have += len(block)
                if known_size is not None and have > known_size:
                    break  # the check says so, and no more of it fills the disk
        return size, md5


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    timeout = (_CONNECT_SECONDS, _READ_SECONDS)
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException:
        raise
    except ValueError as error:  # the address of a redirect, which urllib takes apart
        raise _UnusableAnswer(f"the server's answer cannot be understood ({shorten(str(error), 60)})") from None


def _with_progress(response: requests.Response, url: str, have: int, size: int | None) -> Iterator[bytes]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(url.rpartition("/")[2], total=size, completed=have)
        for block in response.iter_content(_BLOCK_BYTES):
            yield block
            progress.advance(task, len(block))


def _problem(
    part: Path, sizes: set[int | None], md5: str | None, sha256: str | None, fault: Callable[[Path], str | None] | None
) -> str | None:
    """What shows that a complete download is not the file, or None."""
    found = part.stat().st_size
    for size in sizes:
        if size is not None and found != size:
            return f"{found} bytes arrived and not {size}"
    if not found:
        return "it is empty"
    if md5 is not None and file_digest(part, "md5") != md5:
        return "its MD5 is not the one the server names"
    problem = None if fault is None else fault(part)
    if problem is None and sha256 is not None and file_digest(part) != sha256:
        return "its SHA-256 is not the one that is known of this file"
    return problem


def _promised_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if re.fullmatch(r"\d{1,18}", length.strip(), re.ASCII) is None:
        raise _UnusableAnswer(f"the server's header Content-Length is no number ('{shorten(length, 60)}')")
    return int(length)


def _promised_md5(response: requests.Response) -> str | None:
    """Return the whole file's MD5 in hex: Google's header, or Content-MD5 of a full answer."""
    found = re.search(r"md5=([^\s,]+)", response.headers.get("x-goog-hash", ""))
    encoded = found[1] if found else None
    if encoded is None and response.status_code == 200:
        encoded = response.headers.get("Content-MD5")
    if not encoded:
        return None
    try:
        md5 = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        md5 = b""
    if len(md5) != 16:
        raise _UnusableAnswer(f"the server names an MD5 that is none ('{shorten(encoded, 60)}')")
    return md5.hex()


def _remember_validator(response: requests.Response, validator: Path) -> None:
    etag = response.headers.get("ETag", "W/")
    # A weak ETag does not promise equal bytes, so it must not be used to resume.
    value = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    if value and _is_validator(value):
        with atomic_path(validator) as temporary:
            temporary.write_text(value)
    else:
        validator.unlink(missing_ok=True)


def _read_validator(validator: Path) -> str | None:
    if not validator.is_file():
        return None
    with _open_own(validator, "rb") as file:
        value = file.read(1000).decode("ascii", "replace")
    return value if _is_validator(value) else None


def _is_validator(value: str) -> bool:
    return value.isascii() and value.isprintable() and 0 < len(value) < 1000


def _remove_foreign(path: Path) -> None:
    """Remove what is not a file of its own name alone: writing to a link would write to somebody's other file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        path.unlink()


def _open_own(path: Path, mode: Literal["rb", "wb", "ab"]) -> BinaryIO:
    """Open a file, but never one that a link in its place points to."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {shorten(response.reason or '', 60)}".strip()
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError) and not isinstance(error.__context__, http.client.HTTPException):
        return "no connection to the server"
    return f"the server's answer cannot be understood ({type(error).__name__})"
