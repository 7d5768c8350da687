"""``rllib evaluate --sweep``: one policy with several numbers of denoising steps, as a plain flow and as trained."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.cli.evaluate import Player, existing_policy
from rllib_scoreflow.cli.evaluate_options import VARIANTS, EvaluateOptions, check_new_file
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.suggest import hint

_DENOISING_STEPS = (1, 2, 4, 8, 16)

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """With which settings to play.

    Attributes:
        denoising_steps: numbers of steps K in the order given; none: not said.
        variants: names of variants in the order given; none: not said.
    """

    denoising_steps: tuple[int, ...]
    variants: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.denoising_steps) > 1 or len(self.variants) > 1

    def only(self, options: EvaluateOptions) -> EvaluateOptions:
        """Return `options` with the one setting there is."""
        return dataclasses.replace(
            options,
            denoising_steps=next(iter(self.denoising_steps), None),
            variant=next(iter(self.variants), None),
        )


def read_settings(denoising_steps: str | None, variants: str | None) -> Settings:
    """Read the two lists of the command line.

    Args:
        denoising_steps: such as "4" or "1,2,4,8"; None: not given.
        variants: such as "flow" or "flow,scoreflow"; None: not given.

    Returns:
        The settings, each value once.

    Raises:
        InputError: something else stands there.
    """
    steps = _split(denoising_steps)
    if denoising_steps is not None and not all(word.isdecimal() and int(word) >= 1 for word in steps):
        raise InputError(
            f"--denoising-steps {denoising_steps}: give a whole number from 1 on, or several as in 1,2,4,8"
        )
    names = _split(variants)
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"--variant {name}: {hint(name, VARIANTS, 'it is one of, or several as in')}")
    return Settings(tuple(dict.fromkeys(map(int, steps))), tuple(dict.fromkeys(names)))


def _split(text: str | None) -> list[str]:
    return [] if text is None else [word.strip() for word in text.split(",")]


def run_sweep(path: Path, options: EvaluateOptions, settings: Settings, *, plot: Path | None, as_json: bool) -> None:
    """Evaluate an exported policy with every combination of the settings, and print a table.

    All play the same initial states with the same noise.

    Args:
        path: policy folder, checkpoint of FlowBC or ScoreFlow, or folder of an experiment.
        options: what to play.
        settings: what is not said is 1, 2, 4, 8, 16 and the policy's own number of steps, and every variant it has.
            A drift that belongs to one number of steps is played with that one alone, and a line says so.
        plot: PNG to draw the results into.
        as_json: print JSON and nothing else.

    Raises:
        InputError: there is no exported policy at `path`, or an option does not fit it or a sweep.
    """
    for option, target in (("--video", options.video), ("--contact-sheet", options.contact_sheet)):
        if target is not None:
            raise InputError(f"{option} shows one setting, and a sweep has several; leave it out.")
    if plot is not None:
        check_new_file("--plot", plot, ".png")
    folder = existing_policy(path)
    if folder is None:
        raise InputError(f"{path} holds no policy (policy.json), and a sweep is for exported flow policies.")
    player = Player.load(folder, options)
    todo, left_out = _choose(player, options, settings)
    results: list[dict[str, Any]] = []
    for one in todo:
        results.append(player.evaluate(one))
        if not as_json:
            _print_row(results)
    if plot is not None:
        _draw(results, plot)
    common = {key: results[0][key] for key in ("policy", "env_id", "backend", "seed", "episodes")}
    if as_json:
        found = {**common, "plot": None if plot is None else str(plot), "left_out": left_out, "results": results}
        print(json.dumps(found, indent=2, default=float))
        return
    if left_out is not None:
        print(left_out)
    if plot is not None:
        print(f"plot: {plot}")


def _choose(player: Player, options: EvaluateOptions, settings: Settings) -> tuple[list[EvaluateOptions], str | None]:
    """Every setting that the policy can be played with, and a sentence about those that it cannot.

    Raises:
        InputError: a variant that was asked for cannot be played at all.
    """
    sde = player.policy.config.sde
    own = sde.chain.denoising_steps
    steps = settings.denoising_steps or tuple(sorted({*_DENOISING_STEPS, own}))
    todo: list[EvaluateOptions] = []
    left_out: str | None = None
    for name in settings.variants or player.variants:
        fitting = steps
        if name != "flow" and player.policy.sde.depends_on_steps and (own in steps or not settings.variants):
            fitting = tuple(k for k in steps if k == own)
            if fitting != steps:
                left_out = (
                    f"{name} is shown with K = {own} only: its drift was trained with {own} denoising steps "
                    "and means something else with another number"
                )
        todo += [dataclasses.replace(options, denoising_steps=k, variant=name) for k in fitting]
    for one in todo:
        player.check(one)
    return todo, left_out


def figure_of_merit(results: Sequence[Found]) -> tuple[str, list[tuple[float, float]]]:
    """Return what to compare by, with mean and standard error of each result.

    Args:
        results: from Player.evaluate.

    Returns:
        "tasks completed" or "success rate" where the environment says, else "return"; the standard errors of single
        episodes are NaN.
    """
    name, mean, error = "return", _at("return_mean"), _at("return_stderr")
    if all("tasks_completed" in found["metrics"] for found in results):
        name = "tasks completed"
        mean, error = _at("metrics", "tasks_completed"), _at("metric_stderrs", "tasks_completed")
    elif all(found["success_rate"] is not None for found in results):
        name, mean, error = "success rate", _at("success_rate"), _at("success_stderr")
    return name, [(mean(found), math.nan if error(found) is None else error(found)) for found in results]


def _draw(results: Sequence[Found], path: Path) -> None:
    from rllib_scoreflow.reports.plots import plot_against_steps

    quantity, values = figure_of_merit(results)
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for found, (mean, error) in zip(results, values, strict=True):
        lines.setdefault(found["variant"], []).append((found["denoising_steps"], mean, error))
    title = f"{results[0]['env_id']}, {results[0]['episodes']} episodes each, seed {results[0]['seed']}"
    plot_against_steps({name: sorted(points) for name, points in lines.items()}, quantity, title, path)


def _at(*keys: str) -> Callable[[Found], Any]:
    def get(found: Found) -> Any:
        value: Any = found
        for key in keys:
            value = value.get(key)
        return value

    return get


def _print_row(results: Sequence[Found]) -> None:
    """Print the last result, above the first one also the headings; columns that the first lacks are left out."""
    columns = [column for column in _columns(results[0]) if column[2](results[0]) is not None]
    if len(results) == 1:
        first = results[0]
        print(f"{first['policy']} on {first['env_id']}, {first['episodes']} episodes each, seed {first['seed']}")
        print("  ".join(f"{heading:>{width}}" for heading, width, _ in columns))
    print("  ".join(f"{cell(results[-1]) or '':>{width}}" for _, width, cell in columns), flush=True)


def _columns(first: Found) -> list[tuple[str, int, Callable[[Found], str | None]]]:
    """Heading, width and text of every column; a metric with a / in its name is part of another one."""
    metrics = [name for name in first["metrics"] if "/" not in name]
    return [
        ("variant", 9, _at("variant")),
        ("K", 3, lambda found: str(found["denoising_steps"])),
        ("return", 15, _with_error("{:.1f}", _at("return_mean"), _at("return_stderr"))),
        *(
            (
                name.replace("_", " "),
                max(15, len(name)),
                _with_error("{:.2f}", _at("metrics", name), _at("metric_stderrs", name)),
            )
            for name in metrics
        ),
        ("success %", 12, _with_error("{:.1f}", _at("success_rate"), _at("success_stderr"), scale=100.0)),
        ("score", 6, _with_error("{:.1f}", _at("normalized_score"))),
        ("length", 7, _with_error("{:.1f}", _at("length_mean"))),
        ("ms/action", 9, _with_error("{:.2f}", _at("seconds_per_action"), scale=1000.0)),
    ]


def _with_error(
    form: str, mean: Callable[[Found], Any], error: Callable[[Found], Any] | None = None, *, scale: float = 1.0
) -> Callable[[Found], str | None]:
    def cell(found: Found) -> str | None:
        value = mean(found)
        spread = None if error is None else error(found)
        if value is None:
            return None
        text = form.format(scale * value)
        return text if spread is None else f"{text} ± {form.format(scale * spread)}"

    return cell
