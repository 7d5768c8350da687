"""What ``rllib evaluate`` had in Ray for checkpoints of RLlib: a number of steps, a window, and a file of rollouts."""

import pickle
import shelve
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.files.atomic import find_obstacle

_REMEDIES = {
    "steps": "give --episodes",
    "render": "--video FILE.mp4 films an episode",
    "out": "--json prints every return",
    "config": "give --env, --max-episode-steps and so on",
}
# Keys that an evaluation looks at; everything else is about training.
_CONFIG_KEYS: Mapping[str, tuple[Any, str]] = {
    "env": (str, "a text"),
    "env_config": (Mapping, "a mapping"),
    "explore": (bool, "true or false"),
}
_NESTED = "evaluation_config"


@dataclass(frozen=True)
class RolloutOptions:
    """What was asked for of that.

    Attributes:
        steps: end after the episode in which so many environment steps are done; None for no limit.
        render: show the environment in a window.
        out: file for the rollouts.
        config: keys of RLlib's config, laid over that of the checkpoint.
        save_info: store the `info` of each step too.
        use_shelve: write a shelf of Python, an entry per episode, in place of one pickle.
        track_progress: keep a file beside `out` that says how far it is.
    """

    steps: int | None = None
    render: bool = False
    out: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    save_info: bool = False
    use_shelve: bool = False
    track_progress: bool = False

    def __post_init__(self) -> None:
        for name in ("save_info", "use_shelve", "track_progress"):
            if getattr(self, name) and self.out is None:
                raise InputError(f"--{name.replace('_', '-')} says how --out is written; give --out FILE too.")
        if self.out is not None:
            _check_new(self.out)
        object.__setattr__(self, "config", _checked(self.config))

    @property
    def given(self) -> str | None:
        """The name of an option that was given, None where none was."""
        names = ("steps", "render", "out", "config")
        return next((name for name in names if getattr(self, name) not in (None, False, {})), None)

    def refuse(self, what: str) -> None:
        """Refuse every option where they have no effect.

        Args:
            what: what is evaluated, as the subject of a sentence.

        Raises:
            InputError: naming the option, and what does the same there.
        """
        if self.given is not None:
            raise InputError(
                f"--{self.given} is for checkpoints of RLlib's own algorithms, and {what} is none; "
                f"{_REMEDIES[self.given]}."
            )


def _check_new(out: Path) -> None:
    if out.exists() or any(out.parent.glob(f"{out.name}.*")):
        raise InputError(f"--out {out} exists; give the name of a new file.")
    reason = find_obstacle(out) if out.parent.is_dir() else f"there is no folder {out.parent}"
    if reason is not None:
        raise InputError(f"--out {out} cannot be written ({reason}); choose another place.")


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    nested = given.get(_NESTED)
    if nested is not None and not isinstance(nested, Mapping):
        raise InputError(f"--config: {_NESTED} is {quote(nested)} and must be a mapping.")
    config = {**given, **(nested or {})}
    config.pop(_NESTED, None)
    for key, value in config.items():
        if key not in _CONFIG_KEYS:
            raise InputError(
                f"--config: {quote(key)} has no effect on an evaluation; it takes {', '.join(_CONFIG_KEYS)}, also "
                f"within {_NESTED}."
            )
        kind, word = _CONFIG_KEYS[key]
        if not isinstance(value, kind):
            raise InputError(f"--config: {key} is {quote(value)} and must be {word}.")
    return config


class Enough(Exception):
    """Ends the sampling once all that was asked for has been played."""


class Collector:
    """Takes finished episodes from an EnvRunner, and writes them.

    Args:
        options: what to write, and when it is enough.
        episodes: how many were asked for, None for any number.
    """

    def __init__(self, options: RolloutOptions, episodes: int | None) -> None:
        self.episodes: list[Any] = []
        self.steps = 0
        self._options, self._wanted = options, episodes
        self._rollouts: list[list[list[Any]]] = []

    def __call__(self, *, episode: Any, **_: Any) -> None:
        """Called by RLlib at the end of each episode.

        Raises:
            Enough: it was the last one.
        """
        self.episodes.append(episode)
        self.steps += len(episode)
        out = self._options.out
        if out is not None:
            self._store(out, self._steps_of(episode))
        limit = self._options.steps
        if (limit is not None and self.steps >= limit) or (self._wanted and len(self.episodes) >= self._wanted):
            raise Enough

    def __deepcopy__(self, memo: dict[int, Any]) -> "Collector":
        return self  # an EnvRunner copies its config, callbacks included

    def _steps_of(self, episode: Any) -> list[list[Any]]:
        """Each step as Ray's command wrote it: observation, action, next observation, reward, two ends (and info)."""
        rows = []
        for step in range(len(episode)):
            last = step == len(episode) - 1
            row = [
                episode.get_observations(step),
                episode.get_actions(step),
                episode.get_observations(step + 1),
                episode.get_rewards(step),
                bool(last and episode.is_terminated),
                bool(last and episode.is_truncated),
            ]
            rows.append([*row, episode.get_infos(step + 1)] if self._options.save_info else row)
        return rows

    def _store(self, out: Path, rows: list[list[Any]]) -> None:
        if self._options.use_shelve:
            with shelve.open(str(out)) as shelf:  # noqa: S301 (it is written, and what is read is the number alone)
                shelf[str(len(self.episodes) - 1)] = rows
                shelf["num_episodes"] = len(self.episodes)
        else:
            self._rollouts.append(rows)
        if self._options.track_progress:
            goal = f" / {self._wanted}" if self._wanted else ""
            _progress_file(out).write_text(f"{len(self.episodes)}{goal} episodes completed\n")

    def close(self) -> None:
        """Write what is to be written in one piece, and take the note of the progress away."""
        out = self._options.out
        if out is None:
            return
        if not self._options.use_shelve:
            out.write_bytes(pickle.dumps(self._rollouts))
        _progress_file(out).unlink(missing_ok=True)


def _progress_file(out: Path) -> Path:
    return out.with_name(f"__progress_{out.name}")
