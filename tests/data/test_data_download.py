"""Downloads from a real server on this machine: resumed, checked, refused."""

import base64
import hashlib
import http.server
import re
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from rllib_scoreflow.data import find_dataset, load_dataset
from rllib_scoreflow.data.download import check_recorded_hash, download
from rllib_scoreflow.errors import InputError

BODY = np.random.default_rng(0).bytes(300_000)


@dataclass
class Behaviour:
    """What the server does: its content, faults, and the requests it has seen."""

    body: bytes = BODY
    etag: str | None = '"one"'
    ranges: bool = True
    break_after: int | None = None  # bytes of the body after which the connection is closed
    md5: str | None = None
    statuses: list[int] = field(default_factory=list)  # errors answered first
    requests: list[str | None] = field(default_factory=list)  # Range headers of all requests
    lengths: list[int] = field(default_factory=list)  # bytes promised in each answer
    addresses: list[str] = field(default_factory=list)  # and what they asked for


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        behaviour = self.server.behaviour
        wanted = self.headers.get("Range")
        behaviour.addresses.append(self.path)
        behaviour.requests.append(wanted)
        if behaviour.statuses:
            self.send_error(behaviour.statuses.pop(0))
            return
        start = 0
        if wanted and behaviour.ranges and self.headers.get("If-Range") == behaviour.etag:
            start = int(re.match(r"bytes=(\d+)-", wanted)[1])
            if start >= len(behaviour.body):
                self.send_error(416)
                return
            self.send_response(206)
            total = len(behaviour.body)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        content = behaviour.body[start:]
        self.send_header("Content-Length", str(len(content)))
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        if behaviour.md5:
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", f"md5={behaviour.md5}")
        self.end_headers()
        behaviour.lengths.append(len(content))
        self.wfile.write(content[: behaviour.break_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour()
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}/d4rl/file.hdf5"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "file.hdf5"


@pytest.fixture
def through_proxy(monkeypatch):
    def use(port):
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server here has https
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

    return use


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def broken_download(server, url, target, after):
    server.behaviour.break_after = after
    with pytest.raises(InputError, match="broke off"):
        download(url, target)
    server.behaviour.break_after = None


def test_whole_download_with_its_record(server, url, target):
    md5 = hashlib.md5(BODY).digest()
    server.behaviour.md5 = base64.b64encode(md5).decode()
    download(url, target)
    assert target.read_bytes() == BODY
    assert visible(target.parent) == ["file.hdf5", "file.hdf5.sha256"]
    digest = hashlib.sha256(BODY).hexdigest()
    assert target.with_name("file.hdf5.sha256").read_text() == f"{digest}  file.hdf5\n"
    check_recorded_hash(target, digest)


def test_an_existing_file_is_not_fetched_again(server, url, target):
    download(url, target)
    download(url, target)
    assert len(server.behaviour.requests) == 1


def test_a_broken_download_says_what_it_kept_and_is_resumed(server, url, target):
    server.behaviour.etag = '"seven"'
    server.behaviour.break_after = 100_000
    with pytest.raises(InputError, match="65536 bytes are kept, run again"):
        download(url, target)
    assert not target.exists()
    server.behaviour.break_after = None
    download(url, target)
    assert server.behaviour.requests == [None, "bytes=65536-"]
    assert server.behaviour.lengths == [300_000, 300_000 - 65_536]
    assert target.read_bytes() == BODY
    assert visible(target.parent) == ["file.hdf5", "file.hdf5.sha256"]


def test_a_file_changed_on_the_server_starts_over(server, url, target):
    broken_download(server, url, target, 100_000)
    server.behaviour.body = BODY[::-1]
    server.behaviour.etag = '"two"'
    download(url, target)
    assert target.read_bytes() == BODY[::-1]


def test_a_server_without_ranges_starts_over(server, url, target):
    broken_download(server, url, target, 100_000)
    server.behaviour.ranges = False
    download(url, target)
    assert target.read_bytes() == BODY


def test_without_an_etag_nothing_is_resumed(server, url, target):
    server.behaviour.etag = '"seven"'
    server.behaviour.etag = None
    broken_download(server, url, target, 100_000)
    download(url, target)
    assert server.behaviour.requests == [None, None]
    assert target.read_bytes() == BODY


def test_a_part_that_is_complete_already(server, url, target):
    broken_download(server, url, target, 100_000)
    target.with_name("file.hdf5.part").write_bytes(BODY)
    download(url, target)
    assert target.read_bytes() == BODY


def test_a_corrupted_download_is_removed(server, url, target):
    server.behaviour.md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(InputError, match=r"MD5.*file\.hdf5 in the folder"):
        download(url, target)
    assert visible(target.parent) == []


def test_a_part_corrupted_on_disk_is_found_by_the_hash(server, url, target):
    server.behaviour.md5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    broken_download(server, url, target, 100_000)
    target.with_name("file.hdf5.part").write_bytes(bytes(100_000))
    with pytest.raises(InputError, match="MD5"):
        download(url, target)
    download(url, target)
    assert target.read_bytes() == BODY


def test_passing_server_errors_are_retried(server, url, target):
    server.behaviour.statuses = [503, 500]
    download(url, target)
    assert target.read_bytes() == BODY


def test_a_missing_page_names_address_file_and_folder(server, url, target):
    server.behaviour.statuses = [404]
    with pytest.raises(InputError) as caught:
        download(url, target)
    for word in (url, "404", "file.hdf5", str(target.parent)):
        assert word in str(caught.value)


def test_offline_is_told_at_once_with_the_remedy(target):
    url = "http://127.0.0.1:9/none/file.hdf5"  # nobody listens on the discard port
    begin = time.monotonic()
    with pytest.raises(InputError) as caught:
        download(url, target)
    assert time.monotonic() - begin < 5
    for word in (url, "no connection", "place it as file.hdf5", str(target.parent)):
        assert word in str(caught.value)
    assert visible(target.parent) == []


def test_two_at_once_fetch_one_file(server, url, target):
    threads = [threading.Thread(target=download, args=(url, target)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == BODY
    assert len(server.behaviour.requests) == 1


def test_a_file_changed_after_its_download_is_refused(server, url, target):
    download(url, target)
    with pytest.raises(InputError, match=r"file\.hdf5: .*changed after its download"):
        check_recorded_hash(target, hashlib.sha256(b"x").hexdigest())


@pytest.fixture
def recording(tmp_path, columns, write):
    return write(tmp_path / "d.hdf5", columns).read_bytes()


def test_an_id_is_downloaded_and_loaded(server, cache, columns, recording, through_proxy):
    # The server on this machine serves as the proxy, so that D4RL's own address is asked for.
    through_proxy(server.server_port)
    server.behaviour.body = recording
    dataset = load_dataset("hopper-medium-v2")
    assert server.behaviour.addresses == [find_dataset("hopper-medium-v2").url]
    assert (dataset.info.name, dataset.info.env_id) == ("hopper-medium-v2", "Hopper-v4")
    np.testing.assert_array_equal(dataset.actions, columns["actions"])
    load_dataset("hopper-medium-v2")
    assert len(server.behaviour.requests) == 1
    downloaded = cache / "downloads" / "hopper_medium-v2.hdf5"
    downloaded.write_bytes(recording + b"x")
    with pytest.raises(InputError, match="changed after its download"):
        load_dataset("hopper-medium-v2")


def test_an_id_without_a_network(cache, through_proxy):
    through_proxy(9)
    with pytest.raises(InputError) as caught:
        load_dataset("kitchen-mixed-v0")
    entry = find_dataset("kitchen-mixed-v0")
    for word in (entry.url, entry.file_name, str(cache / "downloads")):
        assert word in str(caught.value)
