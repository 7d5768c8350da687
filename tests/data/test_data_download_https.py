"""A file under a plain http address is fetched over https where its server has it there; from a real server."""

import datetime
import hashlib
import http.server
import ssl
import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rllib_scoreflow.data import load_dataset
from rllib_scoreflow.data.download import download
from rllib_scoreflow.errors import InputError

HOST, BODY = "rail.eecs.berkeley.edu", np.random.default_rng(0).bytes(100_000)
URL, ADDRESS = f"http://{HOST}/d4rl/file.hdf5", "/d4rl/file.hdf5"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate of HOST that only who knows it trusts."""
    folder = tmp_path_factory.mktemp("certificate")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string(f"CN={HOST}")
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    form = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    (folder / "certificate.pem").write_bytes(signed.public_bytes(pem))
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """A proxy that is the server itself: plain requests name the whole address, those in a tunnel are encrypted."""

    protocol_version = "HTTP/1.1"
    encrypted = False

    def do_CONNECT(self):
        if self.server.tls is None:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        try:
            self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        except ssl.SSLError:  # the client does not trust the certificate
            self.close_connection = True
            return
        self.rfile, self.wfile, self.encrypted = self.connection.makefile("rb"), self.connection.makefile("wb", 0), True
        self.close_connection = False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append((self.command, "https" if self.encrypted else "http", self.path))
        status, headers, body = self.server.secure if self.encrypted else (200, {}, self.server.body)
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(certificate, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests, running.body, running.secure = [], BODY, (200, {}, BODY)
        running.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        running.tls.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{running.server_port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "certificate.pem"))
        yield running
        running.shutdown()
        thread.join()


def test_what_the_server_has_under_https_is_fetched_there_alone(server, tmp_path):
    download(URL, tmp_path / "file.hdf5")
    assert (tmp_path / "file.hdf5").read_bytes() == BODY
    assert server.requests == [("HEAD", "https", ADDRESS), ("GET", "https", ADDRESS)]


OTHERS = {
    "not there": (404, {}, b""),
    "a page for every address": (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Welcome</html>"),
    "a redirect back": (301, {"Location": URL}, b""),
    "a redirect in a circle": (302, {"Location": URL.replace("http", "https")}, b""),
    "a redirect to nonsense": (302, {"Location": "https://[::1/x"}, b""),
    "no HEAD": (405, {}, b""),
}


@pytest.mark.parametrize("other", OTHERS)
def test_where_https_has_not_the_file_http_serves_it(server, tmp_path, other):
    server.secure = OTHERS[other]
    download(URL, tmp_path / "file.hdf5")
    assert (tmp_path / "file.hdf5").read_bytes() == BODY
    assert server.requests[0] == ("HEAD", "https", ADDRESS)
    assert server.requests[-1] == ("GET", "http", URL)


def test_without_https_or_trust_in_its_certificate_http_serves_the_file(server, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    download(URL, tmp_path / "untrusted.hdf5")
    server.tls = None
    download(URL, tmp_path / "none.hdf5")
    assert server.requests == [("GET", "http", URL)] * 2


def test_a_failure_names_the_address_that_failed(server, tmp_path):
    server.secure = (200, {"Content-MD5": "A" * 22 + "=="}, BODY)
    with pytest.raises(InputError, match=rf"the download of https://{HOST}/d4rl/file.hdf5 is damaged"):
        download(URL, tmp_path / "file.hdf5")


def test_what_is_downloaded_again_is_what_was_downloaded_first(server, tmp_path):
    path, record = tmp_path / "file.hdf5", tmp_path / "file.hdf5.sha256"
    download(URL, path)
    first = record.read_text()
    assert first.split() == [hashlib.sha256(BODY).hexdigest(), path.name]
    path.unlink()
    server.secure = (200, {}, BODY[::-1])
    with pytest.raises(InputError, match=r"has another SHA-256 than its first download.*remove that record") as error:
        download(URL, path)
    assert str(record) in str(error.value)
    assert sorted(each.name for each in tmp_path.iterdir() if each.name[0] != ".") == [record.name]
    assert record.read_text() == first
    # A hash that is known decides in place of the record.
    download(URL, path, sha256=hashlib.sha256(BODY[::-1]).hexdigest())
    path.unlink()
    record.unlink()
    download(URL, path)
    path.unlink()
    download(URL, path)
    assert path.read_bytes() == BODY[::-1]


def test_of_a_published_id(server, cache, columns, write, tmp_path):
    recording = Path(write(tmp_path / "d.hdf5", columns)).read_bytes()
    server.secure = (200, {}, recording)
    np.testing.assert_array_equal(load_dataset("hopper-medium-v2").actions, columns["actions"])
    columns["rewards"][0] += 1
    server.secure = (200, {}, Path(write(tmp_path / "d.hdf5", columns)).read_bytes())
    (cache / "downloads" / "hopper_medium-v2.hdf5").unlink()
    with pytest.raises(InputError, match="another SHA-256 than its first download"):
        load_dataset("hopper-medium-v2")
    assert {kind for _, kind, _ in server.requests} == {"https"}
