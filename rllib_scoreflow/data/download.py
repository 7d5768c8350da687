"""Fetch a published file into the cache: resumable, checked by size and hash."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import requests
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

from rllib_scoreflow.atomic_files import atomic_path
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.file_digest import file_digest

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


def download(url: str, path: Path) -> None:
    """Download `url` to `path`, unless `path` exists; processes that ask at once wait their turn.

    What arrives is kept in `path`.part, and the next call continues there if the server still has
    the same file. A complete file is checked against the server's size and MD5 (where it tells
    them) and recorded by its SHA-256 in `path`.sha256, see `check_recorded_hash`.

    Raises:
        InputError: no connection, a refusal of the server, a wrong size or hash, or a folder that
            cannot be written; it names the address, the file and the folder to place it in by hand.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            with requests.Session() as session:
                for scheme in ("http://", "https://"):
                    session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
                size, md5 = _transfer(session, url, part)
            _check(url, path, part, size, md5)
            with atomic_path(_sidecar(path)) as temporary:
                temporary.write_text(f"{file_digest(part)}  {path.name}\n")
            part.replace(path)
            _validator_file(part).unlink(missing_ok=True)
    except requests.RequestException as error:
        have = part.stat().st_size if part.exists() else 0
        kept = f" ({have} bytes are kept, run again to go on)" if have else ""
        raise InputError(
            f"cannot download {url}: {_reason(error)}{kept}; or fetch it elsewhere and place it as "
            f"{path.name} in the folder {path.parent}"
        ) from error
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
    sidecar = _sidecar(path)
    if not sidecar.is_file():
        return
    recorded = sidecar.read_text().split()[:1]
    if recorded != [sha256]:
        raise InputError(
            f"{path}: the file was changed after its download (its SHA-256 is not the one in "
            f"{sidecar.name}); remove both files to download it again"
        )


def _transfer(session: requests.Session, url: str, part: Path) -> tuple[int | None, str | None]:
    """Bring `part` up to its full length; return the size and MD5 (hex) the server promised."""
    headers = {"Accept-Encoding": "identity"}
    have = part.stat().st_size if part.exists() else 0
    validator = _validator_file(part)
    if have and validator.exists():
        resume = {"Range": f"bytes={have}-", "If-Range": validator.read_text()}
    else:
        resume = {}
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
        if not resumed:
            have = 0
            _remember_validator(response, validator)
        length = response.headers.get("Content-Length")
        size = have + int(length) if length is not None else None
        with part.open("ab" if resumed else "wb") as file:
            for block in _with_progress(response, url, have, size):
                file.write(block)
        return size, _promised_md5(response)


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    timeout = (_CONNECT_SECONDS, _READ_SECONDS)
    return session.get(url, headers=headers, stream=True, timeout=timeout)


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


def _check(url: str, path: Path, part: Path, size: int | None, md5: str | None) -> None:
    found = part.stat().st_size
    if size is not None and found != size:
        problem = f"{found} bytes arrived and not {size}"
    elif md5 is not None and file_digest(part, "md5") != md5:
        problem = "its MD5 is not the one the server names"
    else:
        return
    part.unlink()
    _validator_file(part).unlink(missing_ok=True)
    raise InputError(
        f"the download of {url} is damaged ({problem}) and was removed; run again, or place the "
        f"file as {path.name} in the folder {path.parent}"
    )


def _promised_md5(response: requests.Response) -> str | None:
    """Return the whole file's MD5 in hex: Google's header, or Content-MD5 of a full answer."""
    found = re.search(r"md5=([A-Za-z0-9+/]+=*)", response.headers.get("x-goog-hash", ""))
    encoded = found[1] if found else None
    if encoded is None and response.status_code == 200:
        encoded = response.headers.get("Content-MD5")
    return base64.b64decode(encoded).hex() if encoded else None


def _remember_validator(response: requests.Response, validator: Path) -> None:
    etag = response.headers.get("ETag", "W/")
    # A weak ETag does not promise equal bytes, so it must not be used to resume.
    value = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    if value:
        validator.write_text(value)
    else:
        validator.unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "no connection to the server"
