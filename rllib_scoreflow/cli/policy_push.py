"""``rllib policy push``."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments.clone import find_clone, run_of
from rllib_scoreflow.experiments.weights import find_policy, last_experiment, policy_digest, require_policy
from rllib_scoreflow.files.hub import HUB_PREFIX, HubId, is_hub_id, parse_hub_id

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
_VIDEO_BYTES = 1 << 30
_STAGES = 8  # more are not gone back to


@dataclass(frozen=True)
class PushOptions:
    """How a policy is pushed.

    Attributes:
        private: the repository has to be private.
        branch: None: main.
        license_id: as the hub writes it, None: none is named.
        video: None: that in the run's folder, if there is one.
    """

    private: bool = False
    branch: str | None = None
    license_id: str | None = None
    video: Path | None = None


def run_policy_push(path: Path, target: str, options: PushOptions, *, as_json: bool) -> None:
    """Put the policy at `path` and a model card into a repository of the hub, in one commit.

    Args:
        path: a policy folder, an experiment's folder, or that of a file's experiments.
        target: hf:ORG/NAME.
        options: how.
        as_json: print JSON.

    Raises:
        InputError: there is no whole policy, the id or an option is bad, there is no token, or the hub refuses.
    """
    hub_id = _target(target, options.branch)
    if is_hub_id(path):
        raise InputError(f"{quote(str(path))} is on the hub already; give a folder of this machine to push.")
    if options.license_id is not None and not _LICENSE.fullmatch(options.license_id):
        raise InputError(
            f"--license {quote(options.license_id)} is no identifier of the hub; write it as apache-2.0, mit or "
            "cc-by-4.0"
        )
    folder = require_policy(last_experiment(path), "rllib policy push")
    digest = policy_digest(folder)
    run = _run_that_exported(folder, digest)
    video = _check_video(options.video) if options.video is not None else _video_of(run)
    from rllib_scoreflow.files.hub_commits import require_token, send_files
    from rllib_scoreflow.files.policy_folder import SHARED_FILES
    from rllib_scoreflow.policy import FlowPolicy
    from rllib_scoreflow.reports.model_card import CARD_NAME, VIDEO_NAME, CardSource, make_card

    FlowPolicy.load(folder)
    for name, limit in SHARED_FILES.items():
        if (folder / name).stat().st_size > limit:
            raise InputError(f"{folder / name} has more than {limit} bytes, which nobody could pull.")
    require_token(f"{HUB_PREFIX}{hub_id.repo}")
    source = CardSource(folder, digest, run, () if run is None else _earlier_runs(run))
    card = make_card(source, hub_id, license_id=options.license_id, has_video=video is not None)
    files: dict[str, Path | bytes] = {name: folder / name for name in SHARED_FILES}
    if video is not None:
        files[VIDEO_NAME] = video
    sent = send_files(hub_id, files, card=card, private=options.private, message=f"Policy {digest[:12]} and its card")
    pinned = f"{HUB_PREFIX}{hub_id.repo}@{sent.commit}"
    if as_json:
        found = {"policy": str(folder), "files": [*files, CARD_NAME], "commit": sent.commit, "address": sent.address}
        print(json.dumps({**found, "id": pinned}, indent=2))
        return
    print(f"{folder} -> {HUB_PREFIX}{hub_id}: {', '.join([*files, CARD_NAME])}")
    print(f"commit   {sent.commit}")
    print(f"address  {sent.address}")
    print(f"pull it  rllib policy pull {pinned}")


def _target(text: str, branch: str | None) -> HubId:
    """The repository and branch to push to."""
    hub_id = parse_hub_id(text)
    if hub_id.revision is not None:
        raise InputError(
            f"{quote(text)} names a revision, which a push makes; write {HUB_PREFIX}{hub_id.repo}, and a branch as "
            "--revision BRANCH"
        )
    if branch is None:
        return hub_id
    try:
        return HubId.parse(f"{hub_id.repo}@{branch}", HUB_PREFIX)
    except InputError:
        raise InputError(f"--revision {quote(branch)} is no name of a branch; give one such as v1") from None


def _run_that_exported(policy: Path, digest: str) -> Path | None:
    """The experiment whose exported policy this is; None for another one, of which its evaluations say nothing."""
    run = run_of(policy)
    exported = None if run is None else find_policy(run)
    return run if exported is not None and policy_digest(exported) == digest else None


def _earlier_runs(run: Path) -> list[Path]:
    """The folders of the experiments that a run goes back to, as far as they are there, the first one first."""
    found: list[Path] = []
    current = run
    for _ in range(_STAGES):
        try:
            clone = find_clone(current, None)
        except InputError:  # it started from nothing, or that is not there any more
            break
        before = None if is_hub_id(clone) else run_of(clone)
        if before is None or before in (run, *found):
            break
        found.insert(0, before)
        current = before
    return found


def _video_of(run: Path | None) -> Path | None:
    """The newest video in a run's folder that can be pushed."""
    if run is None:
        return None
    videos = [file for file in run.glob("*.mp4") if not file.is_symlink() and _video_problem(file) is None]
    return max(videos, key=lambda file: file.stat().st_mtime, default=None)


def _check_video(file: Path) -> Path:
    problem = _video_problem(file)
    if problem is not None:
        raise InputError(f"--video {shorten(str(file))} {problem}; film one with rllib evaluate RUN --video FILE.mp4")
    return file


def _video_problem(file: Path) -> str | None:
    if not file.is_file():
        return "is no file"
    if file.stat().st_size > _VIDEO_BYTES:
        return f"has more than {_VIDEO_BYTES} bytes"
    with file.open("rb") as opened:
        return None if opened.read(8)[4:] == b"ftyp" else "is no MP4 video"
