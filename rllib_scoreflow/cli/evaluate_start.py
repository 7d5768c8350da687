"""``rllib evaluate --search-start``: the best of some random starts, in a new policy folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rllib_scoreflow.cli.evaluate import Player, existing_policy
from rllib_scoreflow.cli.evaluate_options import EvaluateOptions
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.atomic import find_obstacle

if TYPE_CHECKING:
    from rllib_scoreflow.evaluation.result import EvaluationResult


def run_start_search(path: Path, options: EvaluateOptions, *, candidates: int, output: Path, as_json: bool) -> None:
    """Search a start, play it and the policy's own on other episodes, and store it in a new policy folder.

    Args:
        path: policy folder, checkpoint or experiment's folder.
        options: what to play; the other episodes have the next seed.
        candidates: how many starts to try.
        output: the new folder.
        as_json: print JSON and nothing else.

    Raises:
        InputError: there is no policy at `path`, `output` exists or cannot be written, or an option does not fit.
    """
    # The start that is stored acts with the policy's own drift and number of steps, and pictures show one policy.
    options.refuse_settings("--search-start", "which plays the policy as it is", pictures=False)
    folder = existing_policy(path)
    if folder is None:
        raise InputError(f"{path} holds no policy (policy.json), and a start is searched for exported flow policies.")
    _check_output(output)
    player = Player.load(folder, options)
    from rllib_scoreflow.evaluation.paired import Manner, Place, paired_difference, play_same_episodes
    from rllib_scoreflow.evaluation.start_search import search_start
    from rllib_scoreflow.policy.threads import one_thread

    def report(number: int, result: "EvaluationResult") -> None:
        if not as_json:
            print(f"start {number} of {candidates}: {_figures(result)}", flush=True)

    place = Place(player.env_id, player.env_config, cast(Any, options.backend))
    other = {"episodes": options.episodes, "seed": options.seed + 1}
    with one_thread():
        best = search_start(
            player.policy,
            place,
            candidates=candidates,
            episodes=options.episodes,
            seed=options.seed,
            report=report,
        )
        again = play_same_episodes(best.policy, Manner(), place, **other)
        own = play_same_episodes(player.policy, Manner(), place, **other)
    difference = paired_difference(again, own)
    written = best.policy.save(output)
    own_start = player.policy.config.sde.chain.start
    if as_json:
        found = {"policy": str(folder), "output": str(written), "candidates": candidates}
        results = {"search": best.result.to_dict(), "other_episodes": again.to_dict()}
        before = {"own_start": own_start, "own_start_other_episodes": own.to_dict()}
        print(json.dumps({**found, **results, **before, "difference": asdict(difference)}, indent=2, default=float))
        return
    from rllib_scoreflow.reports.attribution import with_error

    gained = with_error(difference.return_mean, difference.return_stderr, sign="+")
    print(f"best start, on the episodes of the search (seed {options.seed}): {_figures(best.result)}")
    print(f"best start, on other episodes (seed {other['seed']}): {_figures(again)}")
    remark = "" if difference.return_mean > 0.0 else ", no gain: more starts, or more episodes for each, may find one"
    print(f"{own_start} start, on those other episodes: {_figures(own)}; the best start has {gained} (paired){remark}")
    print(f"policy: {written}")


def _check_output(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise InputError(f"--output {output} exists; give the name of a new folder.")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: its folder {output.parent} does not exist; create it first.")
    reason = find_obstacle(output)
    if reason is not None:
        raise InputError(f"--output {output} cannot be written ({reason}); choose another place.")


def _figures(result: "EvaluationResult") -> str:
    from rllib_scoreflow.evaluation.result import none_if_undefined
    from rllib_scoreflow.reports.attribution import with_error

    text = f"return {with_error(result.return_mean, none_if_undefined(result.return_stderr))}"
    if result.success_rate is None:
        return text
    error = none_if_undefined(result.success_stderr)
    return f"{text}, success {with_error(result.success_rate, error, scale=100.0)} %"
