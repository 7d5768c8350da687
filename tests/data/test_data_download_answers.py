"""Answers that are not the file, and files planted in the cache: refused, removed and named, by the command's way."""

import os
import socketserver
import threading

import pytest

from rllib_scoreflow.data import find_dataset, load_dataset
from rllib_scoreflow.data.download import download
from rllib_scoreflow.errors import InputError

ID = "hopper-medium-v2"
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            request += line
        self.server.requests.append(request)
        answers = self.server.answers
        self.wfile.write(answers.pop(0) if len(answers) > 1 else answers[0])


@pytest.fixture
def server(monkeypatch):
    """A server that writes `answers` byte for byte, the last one for ever; it stands as proxy before every address."""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as running:
        running.requests, running.answers = [], []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server here has https
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{running.server_address[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def recording(tmp_path, columns, write):
    return write(tmp_path / "d.hdf5", columns).read_bytes()


@pytest.fixture
def downloads(cache):
    return cache / "downloads"


def answer(body, *headers, status="200 OK", length=True):
    told = [f"Content-Length: {len(body)}"] if length else ["Connection: close"]
    return "\r\n".join([f"HTTP/1.1 {status}", *told, *headers, "", ""]).encode("latin-1") + body


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


ANSWERS = {
    "a login page": (lambda _: answer(HTML), "begins with '<!DOCTYPE html>"),
    "one that says it is HDF5": (lambda _: answer(HTML, "Content-Type: application/x-hdf5"), "begins with"),
    "cut short, length not told": (lambda body: answer(body[:-100], length=False), "cut|truncated|damaged"),
    "cut at its half": (lambda body: answer(body[: len(body) // 2], length=False), "truncated|damaged"),
    "nothing, length not told": (lambda _: answer(b"", length=False), "it is empty"),
    "an empty file": (lambda _: answer(b""), "it is empty"),
    "204": (lambda _: answer(b"", status="204 No Content"), "answers 204 No Content in place of the file"),
    "205": (lambda body: answer(body, status="205 Reset Content"), "in place of the file"),
    "203 with a body": (lambda body: answer(body, status="203 Elsewhere"), "in place of the file"),
    "206 that nobody asked for": (
        lambda body: answer(body[100:], f"Content-Range: bytes 100-{len(body) - 1}/{len(body)}", status="206 Part"),
        "answers 206 Part in place of the file",
    ),
    "206 of all": (
        lambda body: answer(body, f"Content-Range: bytes 0-{len(body) - 1}/{len(body)}", status="206 Part"),
        "in place of the file",
    ),
    "length in words": (lambda body: answer(body, "Content-Length: many", length=False), "Content-Length|understood"),
    "a negative length": (lambda body: answer(body, "Content-Length: -5", length=False), "Content-Length|understood"),
    "two lengths": (lambda body: answer(body, "Content-Length: 5"), "Content-Length|understood|broke"),
    "an MD5 of letters": (lambda body: answer(body, "Content-MD5: !!!"), "an MD5 that is none"),
    "an MD5 of 3 bytes": (lambda body: answer(body, "x-goog-hash: md5=AAAA"), "an MD5 that is none"),
    "another MD5": (lambda body: answer(body, "Content-MD5: " + 22 * "A" + "=="), "its MD5 is not"),
    "no HTTP": (lambda _: b"SSH-2.0-OpenSSH_9.6\r\n", "understood|no connection"),
    "a status in words": (lambda _: b"HTTP/1.1 fine OK\r\n\r\n", "understood|no connection|answers"),
    "a redirect to a file": (lambda _: answer(b"", "Location: file:///etc/passwd", status="302 Found"), "understood"),
    "a redirect to itself": (lambda _: answer(b"", "Location: /x", status="302 Found"), "understood|answers 302"),
    "a redirect to nonsense": (lambda _: answer(b"", "Location: http://[::1/x", status="302 Found"), "understood"),
    "chunks of a bad size": (
        lambda _: answer(b"zz\r\nabc\r\n", "Transfer-Encoding: chunked", length=False),
        "broke off|understood",
    ),
    "gzip that is none": (lambda body: answer(body, "Content-Encoding: gzip"), "understood|bytes arrived|broke"),
    "a long reason": (lambda _: answer(b"", status="403 " + "x" * 5000), "answers 403 x+ \\.\\.\\."),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_is_not_the_file_is_refused_removed_and_said(server, downloads, recording, what):
    make, words = ANSWERS[what]
    server.answers = [make(recording)]
    with pytest.raises(InputError, match=words) as error:
        load_dataset(ID)
    message = str(error.value)
    assert find_dataset(ID).url in message
    assert "hopper_medium-v2.hdf5 in the folder" in message
    assert "\n" not in message
    assert len(message) < 900
    assert visible(downloads) == []
    # Nothing of it keeps the right file from coming next time.
    server.answers = [answer(recording)]
    load_dataset(ID)


def test_a_whole_file_without_a_length_is_taken(server, downloads, recording):
    server.answers = [answer(recording, length=False)]
    load_dataset(ID)
    assert (downloads / "hopper_medium-v2.hdf5").read_bytes() == recording


@pytest.mark.parametrize("header", ["ETag: one\r\n two", "ETag: " + "x" * 5000, "ETag: \xe9\xff", "Content-Range: ?"])
def test_odd_headers_beside_a_right_file_do_no_harm(server, recording, header):
    server.answers = [answer(recording, header)]
    load_dataset(ID)


def test_a_known_hash_decides(server, downloads, recording):
    entry = find_dataset("kitchen-complete-v0")
    assert (entry.size, entry.sha256[:8]) == (556_544, "cd797c38")
    server.answers = [answer(recording)]
    with pytest.raises(InputError, match=f"{len(recording)} bytes arrived and not 556544"):
        load_dataset("kitchen-complete-v0")
    server.answers = [answer(recording + bytes(556_544 - len(recording)))]
    with pytest.raises(InputError, match="its SHA-256 is not the one that is known"):
        load_dataset("kitchen-complete-v0")
    server.answers = [answer(recording + bytes(10**7), length=False)]
    with pytest.raises(InputError, match="bytes arrived and not 556544"):
        load_dataset("kitchen-complete-v0")
    assert visible(downloads) == []


@pytest.mark.parametrize("name", ["x.hdf5.part", "x.hdf5.part.validator", ".x.hdf5.lock"])
@pytest.mark.parametrize("kind", ["link", "hard link", "dangling link", "pipe"])
def test_what_is_planted_in_the_way_is_not_written_to(server, tmp_path, recording, name, kind):
    folder, victim = tmp_path / "downloads", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"precious")
    if kind == "link":
        (folder / name).symlink_to(victim)
    elif kind == "hard link":
        (folder / name).hardlink_to(victim)
    elif kind == "dangling link":
        (folder / name).symlink_to(tmp_path / "nothing")
    else:
        os.mkfifo(folder / name)
    server.answers = [answer(recording, 'ETag: "one"')]
    download("http://somewhere/x.hdf5", folder / "x.hdf5")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nothing").exists()
    assert (folder / "x.hdf5").read_bytes() == recording
    assert not (folder / "x.hdf5").is_symlink()


@pytest.mark.parametrize("content", [HTML, b"", b"\x89HDF\r\n\x1a\n", "half"], ids=["html", "empty", "magic", "half"])
def test_a_bad_file_in_the_cache_is_named_with_the_remedy(downloads, recording, content):
    downloads.mkdir(parents=True)
    bad = downloads / "hopper_medium-v2.hdf5"
    bad.write_bytes(recording[: len(recording) // 2] if content == "half" else content)
    with pytest.raises(InputError, match="the file in the cache is not hopper-medium-v2 as it is published") as error:
        load_dataset(ID)
    assert str(bad) in str(error.value)
    assert "remove it to download it again" in str(error.value)


def test_a_file_in_the_cache_with_another_hash_than_is_known_is_named(downloads, recording):
    downloads.mkdir(parents=True)
    (downloads / find_dataset("kitchen-mixed-v0").file_name).write_bytes(recording)
    with pytest.raises(InputError, match=r"not kitchen-mixed-v0 as it is published \(its SHA-256 is"):
        load_dataset("kitchen-mixed-v0")


def test_a_record_that_is_no_text_is_another_record(server, downloads, recording):
    server.answers = [answer(recording)]
    load_dataset(ID)
    (downloads / "hopper_medium-v2.hdf5.sha256").write_bytes(b"\xff\xfe" * 10**6)
    with pytest.raises(InputError, match="changed after its download"):
        load_dataset(ID)
