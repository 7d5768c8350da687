"""``rllib policy pull``."""

import json
from pathlib import Path

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import find_obstacle, nearest_existing
from rllib_scoreflow.files.hub import HUB_PREFIX, parse_hub_id
from rllib_scoreflow.files.policy_folder import PULLED_JSON, check_target, fetch_policy, write_pulled


def run_policy_pull(source: str, output: Path | None, *, overwrite: bool, as_json: bool) -> None:
    """Make a policy folder of a policy of the hub, at one commit.

    Args:
        source: hf:ORG/NAME[@REVISION].
        output: the folder; None: NAME, in the working folder.
        overwrite: replace a policy that is there.
        as_json: print JSON.

    Raises:
        InputError: the id is bad, something is in the way, the policy cannot be fetched, or it is broken or altered.
    """
    hub_id = parse_hub_id(source)
    folder = Path(hub_id.repo.partition("/")[2]) if output is None else output
    check_target(folder, overwrite=overwrite)
    obstacle = find_obstacle(nearest_existing(folder.absolute().parent) / folder.name)
    if obstacle is not None:
        raise InputError(f"{folder} cannot be written ({obstacle}); name another folder with --output.")
    fetched = fetch_policy(hub_id)
    from rllib_scoreflow.policy import FlowPolicy

    policy = FlowPolicy.load(fetched.folder)
    write_pulled(fetched, hub_id, folder, overwrite=overwrite)
    if as_json:
        found = {"policy": str(folder), "repository": fetched.repo, "commit": fetched.commit}
        print(json.dumps({**found, "sha256": dict(fetched.sha256)}, indent=2))
        return
    about = policy.metadata
    env = "" if about.env_id is None else f", {about.env_id}"
    print(f"{HUB_PREFIX}{hub_id} -> {folder}: variant {about.variant}{env}")
    print(f"commit {fetched.commit} (kept in {folder / PULLED_JSON})")
