"""``rllib evaluate --attribute``: what of a fine-tuned policy's gain is learning, what its start, what its drift."""

import json
from pathlib import Path
from typing import Any, cast

from rllib_scoreflow.cli.evaluate import Player, existing_policy
from rllib_scoreflow.cli.evaluate_options import EvaluateOptions, check_new_file
from rllib_scoreflow.cli.evaluate_sweep import figure_of_merit
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.clone import find_clone
from rllib_scoreflow.experiments.weights import policy_digest
from rllib_scoreflow.files.atomic import find_obstacle
from rllib_scoreflow.reports.run_folder import BEGUN_JSON

_WIDTHS = (3, 33, 3, 7, 18, 18, 14)


def run_attribution(
    path: Path, options: EvaluateOptions, *, clone: Path | None, plot: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Play the seven rows, print them, and keep them in the run's folder, where `rllib report` finds them.

    Args:
        path: an experiment's folder, or a policy with `clone`.
        options: what to play.
        clone: the policy that fine-tuning started from, None for the one that the run names.
        plot: PNG to draw the rows into.
        overwrite: replace an earlier attribution of the run.
        as_json: print JSON and nothing else.

    Raises:
        InputError: there is no fine-tuned policy or no clone of it, they do not belong together, or an option does
            not fit.
    """
    options.refuse_settings("--attribute", "whose seven rows differ in such things", pictures=True)
    if plot is not None:
        check_new_file("--plot", plot, ".png")
    folder = existing_policy(path)
    if folder is None:
        raise InputError(f"{path} holds no policy (policy.json), and an attribution is for exported flow policies.")
    from rllib_scoreflow.policy import read_metadata
    from rllib_scoreflow.reports.attribution import ATTRIBUTION_JSON, write_attribution

    if not read_metadata(folder).metadata.fine_tuned:
        raise InputError(
            f"{folder} was cloned and not fine-tuned, so there is nothing to attribute; give a run after it."
        )
    keep = path if (path / BEGUN_JSON).is_file() else None
    if keep is not None:
        _check_target(keep / ATTRIBUTION_JSON, overwrite=overwrite)
    # Pictures of the policy as it acts first: where nothing can be rendered that is known at once.
    pictures = Player.load(folder, options).film(options) if options.video or options.contact_sheet else {}
    found = measure_attribution(folder, find_clone(path, clone), options, quiet=as_json)
    kept = None if keep is None else write_attribution(keep, found)
    if plot is not None:
        _draw(found, plot)
    if as_json:
        files = {**pictures, "plot": None if plot is None else str(plot), "file": None if kept is None else str(kept)}
        print(json.dumps({**found, **files}, indent=2, default=float))
        return
    _print_comparisons(found)
    for what, file in (("file", kept), ("plot", plot), *pictures.items()):
        if file is not None:
            print(f"{what.replace('_', ' ')}: {file}")


def _check_target(target: Path, *, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists; give --overwrite to measure again and replace it.")
    reason = find_obstacle(target)
    if reason is not None:
        raise InputError(
            f"{target} cannot be written ({reason}); name the run's policy folder and --clone, and nothing is kept."
        )


def measure_attribution(folder: Path, clone: Path, options: EvaluateOptions, *, quiet: bool) -> dict[str, Any]:
    """Play the seven rows.

    Args:
        folder: the fine-tuned policy.
        clone: the policy that it started from.
        options: what to play.
        quiet: print no row.

    Returns:
        JSON values: `policy`, `policy_sha256`, `clone`, `env_id`, `backend`, `seed`, `episodes`, `rows` and
        `comparisons`.

    Raises:
        InputError: the two do not belong together, or do not fit the environment.
    """
    from rllib_scoreflow.evaluation.attribution import attribution_rows, compare_rows, play_rows, row_to_dict
    from rllib_scoreflow.evaluation.paired import Place
    from rllib_scoreflow.evaluation.result import EvaluationResult
    from rllib_scoreflow.policy import FlowPolicy
    from rllib_scoreflow.policy.threads import one_thread

    player = Player.load(folder, options)
    rows = attribution_rows(FlowPolicy.load(clone), player.policy)
    place = Place(player.env_id, player.env_config, cast(Any, options.backend))
    results: dict[str, EvaluationResult] = {}
    found: list[dict[str, Any]] = []
    if not quiet:
        episodes = f"the same {options.episodes} episodes each, seed {options.seed}"
        print(f"{folder} and its clone {clone} on {player.env_id}, {episodes}", flush=True)
    with one_thread():
        for row, result in play_rows(rows, place, episodes=options.episodes, seed=options.seed):
            results[row.key] = result
            found.append(row_to_dict(row, result, results["a"]))
            if not quiet:
                _print_row(found)
    return {
        "policy": str(folder),
        "policy_sha256": policy_digest(folder),
        "clone": str(clone),
        **{key: found[0][key] for key in ("env_id", "backend", "seed", "episodes")},
        "rows": found,
        "comparisons": compare_rows(results, found[-1]["start"]),
    }


def _draw(found: dict[str, Any], plot: Path) -> None:
    from rllib_scoreflow.reports.attribution import draw_attribution

    quantity, values = figure_of_merit(found["rows"])
    points = [(row["row"], row["name"], mean, error) for row, (mean, error) in zip(found["rows"], values, strict=True)]
    title = f"{found['env_id']}, {found['episodes']} episodes each, seed {found['seed']}"
    draw_attribution(points, quantity, title, plot)


def _print_row(found: list[dict[str, Any]]) -> None:
    """Print the last row, under the headings if it is the first."""
    from rllib_scoreflow.reports.attribution import AttributionRow, cells_of, headings_of

    first, last = (AttributionRow.model_validate(row) for row in (found[0], found[-1]))
    headings = headings_of([first])
    if len(found) == 1:
        print(_line(headings))
    print(_line(cells_of(last)[: len(headings)]), flush=True)


def _line(cells: Any) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=False)).rstrip()


def _print_comparisons(found: dict[str, Any]) -> None:
    from rllib_scoreflow.reports.attribution import Comparison, sentence_of

    print("paired differences:")
    for comparison in found["comparisons"]:
        print(f"  {sentence_of(Comparison.model_validate(comparison))}")
