"""The environment that a dataset was recorded in, as far as it says so."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rllib_scoreflow.data import DatasetInfo
from rllib_scoreflow.envs import EnvDims, try_env
from rllib_scoreflow.envs.classes import names_code
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.interface import check_fits

_LOCOMOTION = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
# By the first word of a file's name: observation dimensions, environment.
_BY_NAME = {
    "ant": {27: "Ant-v4", 111: "ant-medium-v2"},
    "humanoid": {376: "Humanoid-v4"},
    "kitchen": {60: "kitchen-complete-v0"},
}
_KITCHENS = ("partial", "mixed")


@dataclass(frozen=True)
class FoundEnv:
    """An environment, or why there is none.

    Attributes:
        env_id: None where there is none.
        reason: how it was found, or why not; without a full stop.
        dims: of the environment, None where there is none.
    """

    env_id: str | None
    reason: str
    dims: EnvDims | None = None


def find_environment(info: DatasetInfo, given: str | None) -> FoundEnv:
    """Find an environment that can be made here and that the dataset fits.

    Args:
        info: of the dataset.
        given: what the user names; None to guess it from the dataset. A guess imports no module that the dataset
            names.

    Raises:
        InputError: what the user names is unknown, cannot be made, or is not what the dataset was recorded in.
    """
    if given is not None:
        return FoundEnv(given, "given as --env", _fitting_dims(info, given))
    problems = []
    for env_id, origin in _guesses(info):
        if names_code(env_id):
            problems.append(f"{origin} {shorten(env_id)}, whose module is imported only where you name it")
            continue
        try:
            return FoundEnv(env_id, f"{origin} {shorten(env_id)}", _fitting_dims(info, env_id))
        except InputError as error:
            problems.append(f"{origin} {shorten(env_id)}, but {error}")
    return FoundEnv(None, "; ".join(problems) or "neither the dataset nor its name says where it was recorded")


def _guesses(info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Yield environments, the likeliest first, each with what names it."""
    if info.env_id is not None:
        yield info.env_id, "the dataset names"
    words = re.findall(r"[a-z]+(?:2d)?", info.name.lower())
    for word in words:
        env_id = _LOCOMOTION.get(word) or _BY_NAME.get(word, {}).get(info.observation_dim)
        if env_id is not None:
            kind = next((kind for kind in _KITCHENS if kind in words), None)
            if word == "kitchen" and kind is not None:
                env_id = f"kitchen-{kind}-v0"
            yield env_id, "the dataset's name begins as those recorded in"
            return


def _fitting_dims(info: DatasetInfo, env_id: str) -> EnvDims:
    dims = try_env(env_id, info.env_config if info.env_id == env_id else {})
    check_fits(info.interface(), dims)
    return dims
