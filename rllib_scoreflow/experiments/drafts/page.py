"""The text of a draft: YAML with a comment above every key that was chosen."""

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from rllib_scoreflow.experiments.drafts.facts import Choice, Facts, figure, percent
from rllib_scoreflow.experiments.drafts.stages import Stage
from rllib_scoreflow.experiments.yaml import parse_yaml

_WIDTH = 120


def write_page(command: str, place: str, facts: Facts, stages: Sequence[Stage]) -> str:
    """Return the text of the file.

    Args:
        command: what makes it again, for its head.
        place: what `rllib train file` is given.
        facts: what was measured.
        stages: the experiments.
    """
    lines = [*_comment(f"rllib train file {place}", ""), "#", *_comment(f"Made by `{command}`, which measured:", "")]
    lines += [line for fact in _measured(facts) for line in _bullet(fact)]
    lines += ["#"] + [line for text in _how_to_go_on(place, facts, stages) for line in _comment(text, "")]
    for stage in stages:
        lines += ["", f"{stage.name}:", f"  run: {stage.run}"]
        lines += [line for choice in stage.head for line in _key(choice, "  ")]
        lines += ["  config:", *(line for choice in stage.config for line in _key(choice, "    "))]
    text = "\n".join(lines) + "\n"
    assert parse_yaml(text, place) == {stage.name: stage.as_mapping() for stage in stages}
    return text


def _measured(facts: Facts) -> list[str]:
    info, analysis = facts.info, facts.analysis
    shortest, median, longest = analysis.lengths
    low, high = info.action_min, info.action_max
    shown = ", ".join(f"{a:.3g} to {b:.3g}" for a, b in list(zip(low, high, strict=True))[:4])
    found = [
        f"{info.name}: {info.num_steps:,} steps in {info.num_episodes:,} episodes of {shortest} to {longest} steps "
        f"(median {median}), of which the environment ended {percent(analysis.terminal_share)}",
        f"{info.observation_dim} numbers are observed, {len(analysis.constant_observations)} of them never change; "
        f"{info.action_dim} are acted by, {len(analysis.constant_actions)} of them never change, from {shown}"
        f"{', ...' if info.action_dim > 4 else ''}; {percent(analysis.bound_share)} of the actions lie at these bounds",
        _returns(facts),
        f"the nearest other state is {analysis.foresight.distance:.2f} standard deviations away (median, per number "
        f"observed); the actions after both differ by {percent(analysis.foresight.spread[0])} of what two at random do",
    ]
    if info.cameras:
        found.append(f"images of {', '.join(info.cameras)} are seen by the policy, and were not looked at for this")
    found += [f"note: {note}" for note in info.notes]
    found.append(f"the environment: {facts.found.reason}")
    return found


def _returns(facts: Facts) -> str:
    analysis = facts.analysis
    if not analysis.has_rewards:
        return "no rewards are recorded: all are 0"
    mean, spread, most = map(figure, (analysis.return_mean, analysis.return_std, analysis.return_max))
    text = f"returns are {mean} +- {spread}, at most {most}"
    if analysis.success_share is None:
        return text
    return f"{text}; rewards are 0 or 1, and above 0 in {percent(analysis.success_share)} of the episodes"


def _how_to_go_on(place: str, facts: Facts, stages: Sequence[Stage]) -> list[str]:
    last = stages[-1].name
    sized = (
        f"It is sized for about {facts.minutes:g} minutes on two cores like these; rllib init --minutes N sizes it for "
        "more. Each choice below has its reason; settings that are not named are the published defaults."
    )
    if facts.simulator_speed is None:
        return [
            sized,
            "There is no environment, so that the policy is cloned and never played. With one that is installed, "
            "rllib init DATASET --env ID adds `env: ID` here, evaluations, and a fine-tuning.",
        ]
    return [
        sized,
        f"Afterwards: rllib evaluate results/{place.removesuffix('.yaml')} --attribute --video out.mp4",
        f"To go on: raise `stop` of {last} (with lr_cycle_iterations and schedule_iterations in proportion) and give "
        "the same command again. A clone far below its data, as the line at its end then says, wants more gradient "
        "steps first.",
    ]


def _key(choice: Choice, indent: str) -> list[str]:
    return [*_comment(f"{choice.reason}.", indent), f"{indent}{choice.key}: {_scalar(choice.value)}"]


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="#   - ", subsequent_indent="#     ", **_KEEP)


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", **_KEEP)


_KEEP: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
