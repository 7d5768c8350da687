"""Files of a model repository of the hub at one commit: fetched with every byte checked, and sent in one commit."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.hub import HUB_PREFIX, HubId, hub_faults, import_hub

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class FetchedFiles:
    """Some files of a repository, as they are in one commit.

    Attributes:
        repo: `ORG/NAME`.
        commit: 40 hexadecimal digits.
        folder: in the client's cache; it may hold other files of this commit.
        sha256: file name -> hash.
    """

    repo: str
    commit: str
    folder: Path
    sha256: Mapping[str, str]

    def copy_to(self, folder: Path) -> None:
        """Copy the files into an existing folder.

        Raises:
            InputError: the cache was changed meanwhile; naming the file.
        """
        for name, digest in self.sha256.items():
            shutil.copyfile(self.folder / name, folder / name)
            if file_digest(folder / name) != digest:
                raise InputError(f"{self.folder / name} changed while it was copied; fetch it again.")


@dataclass(frozen=True)
class SentFiles:
    """A commit that was made.

    Attributes:
        commit: 40 hexadecimal digits.
        address: of the commit's page.
    """

    commit: str
    address: str


def is_commit(revision: str | None) -> bool:
    """Return whether a revision is a commit's full hash, which never means another state."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def fetch_files(hub_id: HubId, limits: Mapping[str, int], *, trust_cache: bool = True) -> FetchedFiles:
    """Return some files of a repository at one commit, out of the client's cache or downloaded into it.

    A branch or tag is resolved to its commit first, which takes the network; a commit whose files are all in the cache
    takes none. What is downloaded is compared with the hashes that the hub lists for it.

    Args:
        hub_id: the repository and its revision; None: its default branch.
        limits: name of each file -> the most bytes that it may have.
        trust_cache: take a commit that is in the cache as it is.

    Raises:
        InputError: no such repository, revision, file or network, or a file is too large or not what the hub lists.
    """
    hub = import_hub()
    if trust_cache and is_commit(hub_id.revision):
        cached = {name: hub.try_to_load_from_cache(hub_id.repo, name, revision=hub_id.revision) for name in limits}
        if all(isinstance(path, str) for path in cached.values()):
            return _fetched(hub_id.repo, str(hub_id.revision), {name: Path(path) for name, path in cached.items()})
    name = f"{HUB_PREFIX}{hub_id}"
    with hub_faults(f"cannot fetch {name}", "correct that, or give a folder of this machine"):
        api = hub.HfApi()
        commit, listed = _list_files(api, hub_id)
        found: dict[str, Path] = {}
        for file, limit in limits.items():
            _check_listed(f"{name} at {commit}", file, listed, limit)
            found[file] = _download(api, hub_id.repo, commit, listed[file])
        return _fetched(hub_id.repo, commit, found)


def send_files(
    hub_id: HubId, files: Mapping[str, Path | bytes], *, card: str, private: bool, message: str
) -> SentFiles:
    """Put files into a repository in one commit; the repository and the branch are made where they are missing.

    Args:
        hub_id: the repository; its revision is the branch, None: main.
        files: name in the repository -> a file of this machine, or its content.
        card: the README.md that goes with them.
        private: the repository has to be private.
        message: of the commit.

    Raises:
        InputError: no token, no network, no right to write there, a public repository where a private one is wanted, or
            the hub refuses a file.
    """
    hub = import_hub()
    name = f"{HUB_PREFIX}{hub_id.repo}"
    if is_commit(hub_id.revision):
        raise InputError(f"--revision {hub_id.revision} is a commit, and files go to a branch; name one.")
    require_token(name)
    with hub_faults(f"cannot push to {name}", "correct that, and push again"):
        hub.ModelCard(card).validate()
        api = hub.HfApi()
        _require_repo(hub, api, hub_id.repo, private=private)
        if hub_id.revision is not None:
            api.create_branch(hub_id.repo, branch=hub_id.revision, exist_ok=True)
        contents = {**files, "README.md": card.encode()}
        made = api.create_commit(
            hub_id.repo,
            [hub.CommitOperationAdd(path_in_repo=file, path_or_fileobj=content) for file, content in contents.items()],
            commit_message=message,
            revision=hub_id.revision,
        )
        commit, listed = _list_files(api, HubId(hub_id.repo, made.oid))
    for file, content in contents.items():
        if file not in listed or not _is_listed(content, listed[file]):
            raise InputError(
                f"the commit {commit} of {name} does not hold {file} as it was sent; look at the repository's "
                ".gitignore and .gitattributes, and push again"
            )
    return SentFiles(commit, str(made.commit_url))


def require_token(name: str) -> None:
    """Refuse to go on without a token of the hub.

    Args:
        name: what needs one, for the message.

    Raises:
        InputError: there is none.
    """
    if not import_hub().get_token():
        raise InputError(f"{name} needs a token that may write there; set HF_TOKEN, or log in with: hf auth login")


def _require_repo(hub: Any, api: Any, repo: str, *, private: bool) -> None:
    try:
        is_private = api.model_info(repo).private
    except hub.errors.RepositoryNotFoundError as error:
        if isinstance(error, hub.errors.GatedRepoError):
            raise
        api.create_repo(repo, private=private or None, exist_ok=True)
        return
    if private and not is_private:
        raise InputError(
            f"{HUB_PREFIX}{repo} exists and is public; make it private in its settings on the hub, or leave --private "
            "out"
        )


def _list_files(api: Any, hub_id: HubId) -> tuple[str, dict[str, Any]]:
    """The commit that a revision means, and what the hub says of each file in it."""
    info = api.model_info(hub_id.repo, revision=hub_id.revision, files_metadata=True)
    if not is_commit(info.sha) or (is_commit(hub_id.revision) and info.sha != hub_id.revision):
        raise InputError(f"the hub names no commit of {HUB_PREFIX}{hub_id} (but {shorten(info.sha)}); try again later")
    return info.sha, {file.rfilename: file for file in info.siblings or ()}


def _check_listed(where: str, file: str, listed: Mapping[str, Any], limit: int) -> None:
    if file not in listed:
        raise InputError(f"{where} holds no {file}; name a repository that `rllib policy push` made")
    size = listed[file].size
    if not isinstance(size, int) or size > limit:
        raise InputError(f"{file} of {where} has {shorten(size)} bytes, and {limit} are allowed; name another one")


def _download(api: Any, repo: str, commit: str, file: Any) -> Path:
    for force in (False, True):  # a file in the cache may have been damaged there
        path = Path(api.hf_hub_download(repo, file.rfilename, revision=commit, force_download=force))
        if _is_listed(path, file):
            return path
    raise InputError(
        f"{file.rfilename} of {HUB_PREFIX}{repo} at {commit} is not the file that the hub lists (its hash differs: "
        "damaged or altered on the way); do not use it, and fetch it again later"
    )


def _is_listed(content: Path | bytes, file: Any) -> bool:
    """Whether a content is what the hub lists: of a large file its SHA-256, of others git's hash of it."""
    if file.lfs is not None:
        return bool(_sha256(content) == file.lfs.sha256)
    return file.blob_id is None or _git_hash(content) == file.blob_id


def _sha256(content: Path | bytes) -> str:
    return file_digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def _git_hash(content: Path | bytes) -> str:
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
        return digest.hexdigest()
    with content.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _fetched(repo: str, commit: str, files: Mapping[str, Path]) -> FetchedFiles:
    folder = next(iter(files.values())).parent
    return FetchedFiles(repo, commit, folder, {name: file_digest(path) for name, path in files.items()})
