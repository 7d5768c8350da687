"""Recordings whose model robosuite 1.4 cannot load, such as an older release's: simulated in its own model of the task.

The recorded states fit that model where they have as many numbers, which alone says little: a demonstration counts
where its recorded actions, from its first state, do the task there too.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.robosuite.sim import ModelError, RobosuiteSim
from rllib_scoreflow.errors import InputError

Recording = tuple[NDArray[np.float64], NDArray[np.float64], str]


@dataclass(frozen=True)
class Simulated:
    """A simulation for a file of recordings.

    Attributes:
        sim: the simulation.
        names: the demonstrations that it can show, in their order.
        own_model: whether they are shown in robosuite's own model in place of the recorded ones.
        note: what to say of it; empty where the recorded models are loaded.
    """

    sim: RobosuiteSim
    names: tuple[str, ...]
    own_model: bool
    note: str


def open_simulation(
    env_args: Mapping[str, Any],
    names: Sequence[str],
    read: Callable[[str], Recording],
    where: str,
    *,
    reflections: bool,
) -> Simulated:
    """Make the simulation of a file, with its own models where they can be loaded.

    Args:
        env_args: as Robomimic writes them.
        names: of the demonstrations, at least one.
        read: states [T, S], actions [T, A] and model of a demonstration.
        where: the file, for messages.
        reflections: see Camera.

    Raises:
        InputError: neither the recorded models nor robosuite's own can show any of the demonstrations.
    """
    sim = RobosuiteSim(env_args, seed=0, reflections=reflections)
    states, _, model = read(names[0])
    try:
        sim.reset_to_state(states[0], model)
    except ModelError as error:
        sim.close()
        sim = RobosuiteSim(env_args, seed=0, reflections=reflections)
        try:
            return _in_own_model(sim, names, read, where, str(error))
        except BaseException:
            sim.close()
            raise
    except BaseException:
        sim.close()
        raise
    return Simulated(sim, tuple(names), own_model=False, note="")


def _in_own_model(
    sim: RobosuiteSim, names: Sequence[str], read: Callable[[str], Recording], where: str, reason: str
) -> Simulated:
    kept = []
    for name in names:
        states, actions, _ = read(name)
        if states.shape[1] != sim.state_dim:
            raise InputError(
                f"{where}: {reason}, and its states of {states.shape[1]} numbers are not of robosuite 1.4's own model, "
                f"whose have {sim.state_dim}: it cannot be shown with this release"
            )
        if _succeeds(sim, states[0], actions):
            kept.append(name)
    if not kept:
        raise InputError(
            f"{where}: {reason}, and in robosuite 1.4's own model none of its {len(names)} recorded sequences of "
            "actions does the task: it cannot be shown with this release"
        )
    left = f"; left out: {', '.join(name for name in names if name not in kept)}" if len(kept) < len(names) else ""
    note = (
        f"{where}: {reason}; robosuite 1.4's own model shows the recorded states instead, in which the recorded "
        f"actions do the task in {len(kept)} of {len(names)} demonstrations{left}"
    )
    return Simulated(sim, tuple(kept), own_model=True, note=note)


def _succeeds(sim: RobosuiteSim, state: NDArray[np.float64], actions: NDArray[np.float64]) -> bool:
    sim.reset()  # brings the controllers to the posture in which recordings begin
    sim.reset_to_state(state)
    with redirect_stdout(io.StringIO()):  # robosuite prints every joint that reaches its limit
        for action in actions:
            sim.step(action)
            if sim.success:
                return True
    return False
