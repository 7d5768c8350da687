"""A stand-in for Hugging Face's Hub: the part of its HTTP API that the client uses to push and pull model files.

It is a real server on this machine. Repositories, branches and commits live in memory; large files go through the LFS
protocol (batch, upload, verify), and are handed out where the Hub redirects to its storage. Faults can be asked for:
files whose bytes differ from what is listed, gated repositories, sizes that are not true.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE_ENDINGS = (".safetensors", ".mp4")
LICENSES = {"apache-2.0", "mit"}
WRITE_TOKEN, READ_TOKEN = "hf_writes", "hf_reads"


@dataclass(frozen=True)
class File:
    """A file of a commit."""

    content: bytes
    large: bool

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self):
        content = self.content
        if self.large:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(content)}\n"
            content = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self):
        return self.sha256 if self.large else self.blob_id


@dataclass
class Repo:
    """A repository: what it is like, its branches and its commits."""

    private: bool = False
    gated: bool = False
    branches: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)

    def commit(self, branch, files):
        """Add files to a branch, and return the new commit."""
        before = self.commits.get(self.branches.get(branch), {})
        content = {**before, **files}
        listing = json.dumps([sorted((path, file.etag) for path, file in content.items()), len(self.commits)])
        name = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[name] = content
        self.branches[branch] = name
        return name

    def find(self, revision):
        return self.branches.get(revision, revision if revision in self.commits else None)


class Refusal(Exception):
    """An answer that is an error: status, the Hub's code for it, its words."""

    def __init__(self, status, code="", words="refused"):
        super().__init__(words)
        self.status, self.code, self.words = status, code, words


class HubServer(http.server.ThreadingHTTPServer):
    """The server and what it holds.

    Attributes:
        repos: "org/name" -> Repo.
        objects: sha256 -> content of a large file that was uploaded.
        served_instead: path -> bytes that are sent in place of a file's.
        listed_sizes: path -> size that is listed in place of a file's.
        ignored: paths that a .gitignore of the repository leaves out of commits.
        requests: "METHOD /path" of everything that was asked.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos, self.objects, self.requests = {}, {}, []
        self.served_instead, self.listed_sizes, self.ignored = {}, {}, set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, repo, files, branch="main"):
        """Commit files without the API, as another client would."""
        made = self.repos.setdefault(repo, Repo())
        return made.commit(branch, {path: File(data, path.endswith(LARGE_ENDINGS)) for path, data in files.items()})

    def files(self, repo, revision="main"):
        """Path -> content of a commit."""
        held = self.repos[repo]
        return {path: file.content for path, file in held.commits[held.find(revision)].items()}


@contextmanager
def running():
    """Run a server for the length of the block."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    def _answer(self):
        address = urlsplit(self.path)
        path, self.query = unquote(address.path), parse_qs(address.query)
        self.server.requests.append(f"{self.command} {path}")
        body = self._body()
        try:
            self._check_token()
            for method, pattern, action in _ROUTES:
                found = re.fullmatch(pattern, path)
                if method == self.command and found:
                    return action(self, body, **found.groupdict())
            raise Refusal(404, words=f"no such address: {self.command} {path}")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.words, **({"X-Error-Code": refusal.code} if refusal.code else {})}
            return self._send({"error": refusal.words}, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, content, status=200, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def _token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _check_token(self):
        if self._token not in ("", WRITE_TOKEN, READ_TOKEN):
            raise Refusal(401, words="Invalid credentials in Authorization header")

    def _may_write(self):
        if self._token != WRITE_TOKEN:
            raise Refusal(403, words="you have no right to write here")

    def _repo(self, repo):
        found = self.server.repos.get(repo)
        if found is None or (found.private and not self._token):
            raise Refusal(404 if self._token else 401, "RepoNotFound", "Repository not found")
        return found

    def _revision(self, repo, revision):
        found = self._repo(repo).find(revision)
        if found is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def create(self, body):
        self._may_write()
        wanted = json.loads(body)
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.server.repos:
            raise Refusal(409, words="You already created this model repo")
        self.server.repos[repo] = Repo(private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
        self.server.put(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
        self._send({"url": f"{self.server.address}/{repo}"})

    def validate(self, body):
        _, head, _ = json.loads(body)["content"].split("---\n", 2)
        found = yaml.safe_load(head)
        errors = []
        if found.get("license") not in {None, *LICENSES}:
            errors.append({"message": f'"license" must be one of {sorted(LICENSES)}'})
        self._send({"errors": errors, "warnings": []}, 400 if errors else 200)

    def info(self, body, repo, revision="main"):
        commit = self._revision(repo, revision)
        siblings = []
        for path, file in self.server.repos[repo].commits[commit].items():
            size = self.server.listed_sizes.get(path, len(file.content))
            entry = {"rfilename": path}
            if self.query.get("blobs"):
                entry |= {"size": size, "blobId": file.blob_id}
                if file.large:
                    entry["lfs"] = {"sha256": file.sha256, "size": size, "pointerSize": 130}
            siblings.append(entry)
        about = {"id": repo, "sha": commit, "private": self.server.repos[repo].private, "siblings": siblings}
        self._send({**about, "_id": "0", "tags": [], "downloads": 0, "likes": 0})

    def branch(self, body, repo, branch):
        self._may_write()
        held = self._repo(repo)
        if branch in held.branches:
            raise Refusal(409, words="Reference already exists")
        held.branches[branch] = held.branches["main"]
        self._send({})

    def preupload(self, body, repo, revision):
        self._may_write()
        held = self._repo(repo).commits[self._revision(repo, revision)]
        files = []
        for wanted in json.loads(body)["files"]:
            path = wanted["path"]
            mode = "lfs" if path.endswith(LARGE_ENDINGS) else "regular"
            oid = held[path].etag if path in held else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": path in self.server.ignored, "oid": oid})
        self._send({"files": files})

    def batch(self, body, repo):
        self._may_write()
        self._repo(repo)
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.objects:
                upload = {"href": f"{self.server.address}/objects/{wanted['oid']}"}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.server.address}/objects/verify"}}
            objects.append(entry)
        self._send({"transfer": "basic", "objects": objects})

    def upload(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, words="the content has another hash")
        self.server.objects[oid] = body
        self._send({})

    def verify(self, body):
        wanted = json.loads(body)
        if len(self.server.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refusal(422, words="this was not uploaded")
        self._send({})

    def commit(self, body, repo, revision):
        self._may_write()
        self._revision(repo, revision)
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), large=False)
            elif entry["key"] == "lfsFile":
                files[value["path"]] = File(self.server.objects[value["oid"]], large=True)
        made = self.server.repos[repo].commit(revision, files)
        self._send({"commitUrl": f"{self.server.address}/{repo}/commit/{made}", "commitOid": made, "success": True})

    def resolve(self, body, repo, revision, path):
        commit = self._revision(repo, revision)
        if self._repo(repo).gated and self._token != WRITE_TOKEN:
            raise Refusal(403, "GatedRepo", "Access to model is restricted")
        file = self._repo(repo).commits[commit].get(path)
        if file is None:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        about = {"X-Repo-Commit": commit, "ETag": f'"{file.blob_id}"'}
        if file.large:
            about |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        self._send(self.server.served_instead.get(path, file.content), 200, about)

    def log_message(self, *_):
        pass


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/models/{_REPO}", _Handler.info),
    ("GET", f"/api/models/{_REPO}/revision/(?P<revision>.+)", _Handler.info),
    ("POST", f"/api/models/{_REPO}/branch/(?P<branch>.+)", _Handler.branch),
    ("POST", f"/api/models/{_REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", f"/api/models/{_REPO}/commit/(?P<revision>.+)", _Handler.commit),
    ("POST", f"/{_REPO}[.]git/info/lfs/objects/batch", _Handler.batch),
    ("POST", "/objects/verify", _Handler.verify),
    ("PUT", "/objects/(?P<oid>[0-9a-f]{64})", _Handler.upload),
    ("HEAD", f"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("GET", f"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
)
