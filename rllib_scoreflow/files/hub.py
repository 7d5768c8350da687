"""The model and dataset hub of Hugging Face, through its own client: ids, snapshots, and its faults as one sentence.

Nothing is unpickled: a snapshot is a folder of files. Where the client keeps them, and whether it may use the network,
is said by its own environment variables (HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN).
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rllib_scoreflow.errors import InputError, quote, shorten

Kind = Literal["model", "dataset"]
HUB_PREFIX = "hf:"  # of a policy of the hub, where a path might stand
# As the hub itself allows it: letters, digits, ".", "-" and "_" on both sides of one slash.
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """A repository of the hub, and a state of it.

    Attributes:
        repo: `ORG/NAME`.
        revision: a branch, a tag or a commit; None: the newest.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, prefix: str) -> "HubId":
        """Take `ORG/NAME[@REVISION]` apart.

        Args:
            text: what the user gave, without its prefix.
            prefix: such as "hf:", for the message.

        Raises:
            InputError: it is none.
        """
        repo, _, revision = text.partition("@")
        parts = repo.split("/")
        well = len(parts) == 2 and all(_NAME.fullmatch(part) and ".." not in part for part in parts)
        if not well or (("@" in text) and (not _REVISION.fullmatch(revision) or ".." in revision)):
            raise InputError(
                f"{quote(prefix + text)} is no id of the hub; write it as {prefix}ORG/NAME or {prefix}ORG/NAME@REVISION"
            )
        return cls(repo, revision or None)

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def is_hub_id(given: str | os.PathLike[str]) -> bool:
    """Return whether a text or path that names a policy means one of the hub, `hf:ORG/NAME`."""
    return os.fspath(given).startswith(HUB_PREFIX)


def parse_hub_id(given: str | os.PathLike[str]) -> HubId:
    """Return what `hf:ORG/NAME[@REVISION]` names.

    Raises:
        InputError: it is no such id.
    """
    text = os.fspath(given)
    if not is_hub_id(text):
        raise InputError(f"{quote(text)} is no id of the hub; write it as {HUB_PREFIX}ORG/NAME")
    return HubId.parse(text.removeprefix(HUB_PREFIX), HUB_PREFIX)


def import_hub() -> Any:
    """Return the package of the hub's client.

    Raises:
        InputError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise InputError("the hub needs huggingface_hub: pip install 'rllib-scoreflow[hub]'") from None
    hub: Any = huggingface_hub
    if not sys.stderr.isatty():  # where bars would be lines of a log
        hub.utils.disable_progress_bars()
    return hub


@contextmanager
def hub_faults(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever the client or the network raises within the block into one sentence.

    Args:
        what: what could not be done, such as "cannot download org/name from the hub".
        remedy: what to do without a network.

    Raises:
        InputError: in place of every exception but itself.
    """
    try:
        yield
    except InputError:
        raise
    # What the client, and the HTTP library below it, raises beside is not told anywhere.
    except Exception as error:
        raise InputError(f"{what} ({_reason(error)}); {remedy}") from error


def snapshot(
    hub_id: HubId,
    kind: Kind,
    *,
    patterns: Sequence[str],
    remedy: str,
    revisions: Sequence[str | None] = (None,),
    also_cached_in: Path | None = None,
) -> Path:
    """Return the folder of a repository's files: from a cache, else downloaded into the client's.

    Args:
        hub_id: which repository; its revision, where it names one, is taken, and a commit that is in the cache needs no
            network.
        kind: of the repository.
        patterns: which files.
        remedy: what to do without a network.
        revisions: tried in this order where the id names none; None is the newest.
        also_cached_in: another cache, which is looked into first.

    Raises:
        InputError: no such repository, revision or network.
    """
    hub = import_hub()
    tried = (hub_id.revision,) if hub_id.revision is not None else tuple(revisions)
    wanted = {"repo_id": hub_id.repo, "repo_type": kind, "allow_patterns": list(patterns)}
    with hub_faults(f"cannot download {hub_id} from the hub", remedy):
        if also_cached_in is not None and also_cached_in.is_dir():
            for revision in tried:
                with suppress(hub.errors.LocalEntryNotFoundError):
                    found = hub.snapshot_download(
                        **wanted, revision=revision, cache_dir=also_cached_in, local_files_only=True
                    )
                    return Path(found)
        for revision in tried[:-1]:
            # Without a network the client looks into its cache by itself.
            with suppress(hub.errors.RevisionNotFoundError, hub.errors.LocalEntryNotFoundError):
                return Path(hub.snapshot_download(**wanted, revision=revision))
        return Path(hub.snapshot_download(**wanted, revision=tried[-1]))


def _reason(error: BaseException) -> str:
    """What went wrong, in a few words: the client's messages are paragraphs with addresses."""
    errors = import_hub().errors
    known = {
        "GatedRepoError": "access to it has to be asked for on the hub, and HF_TOKEN set",
        "RepositoryNotFoundError": "there is no such repository, or HF_TOKEN is missing for a private one",
        "RevisionNotFoundError": "it has no such revision",
        "LocalEntryNotFoundError": "no connection to the hub, and it is not in the cache",
        "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, and it is not in the cache",
        "LocalTokenNotFoundError": "there is no token; set HF_TOKEN",
    }
    # The last of a chain is the cause: what the client raises of its own says mostly that it could not find a file.
    for name, text in known.items():
        if isinstance(error, getattr(errors, name, ())):
            return text
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the hub answers {status}: set HF_TOKEN to a token that may do this"
    if status is not None:
        return f"the hub answers {status}"
    if type(error).__name__ in ("ConnectError", "ConnectTimeout", "ConnectionError", "ReadTimeout", "NetworkError"):
        return "no connection to the hub"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(". ") or type(error).__name__
    return shorten(text, 120)
