"""Recorded demonstrations in our environment: their observations from their states, their success from their actions.

The recordings are our own, on robosuite 1.4.1 in Robomimic's format. With SCOREFLOW_SHARED_DATA the
whole files are read.

robosuite observes while it simulates, a little before the end of a step: these recordings 4 ms before (their recorder
updated the observables once more after the reset, which moves the sampling), ordinary episodes 2 ms. So a recorded
observation is older than the state beside it: less than 5e-3 except where the hand turns fast, a tenth of that
where the test goes back by those 4 ms, and nothing at all where it updates the observables once more, too.
"""

import json
import os
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest

from rllib_scoreflow.envs import make_single_env, resolve_env

pytest.importorskip("robosuite", reason="robosuite is not installed")

FIXTURES = Path(__file__).parent / "fixtures"
TASKS = ("lift", "can", "square")
KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
# Where quaternions begin in the observation. Their sign is arbitrary: robosuite's conversion flips it.
QUATERNIONS = {"lift": (3, 12), "can": (3, 12, 19), "square": (3, 12, 19)}


def make(task, file):
    env_args = json.loads(file["data"].attrs["env_args"])
    return make_single_env(resolve_env(f"robomimic/{task}"), {"env_args": env_args})


def recorded(demonstration):
    return np.concatenate([demonstration["obs"][key][:] for key in KEYS], axis=1)


def with_recorded_signs(task, observations, wanted):
    """The observations with each quaternion in the sign of `wanted`."""
    observations = observations.copy()
    for start in QUATERNIONS[task]:
        part = slice(start, start + 4)
        sign = np.sign((observations[:, part] * wanted[:, part]).sum(axis=1, keepdims=True))
        observations[:, part] *= sign
    return observations


def two_simulation_steps_back(env, state):
    """MuJoCo's integration of the positions, the other way, by the velocities of the last step."""
    model = env.unwrapped._sim._env.sim.model._model
    back = state.copy()
    positions = back[1 : 1 + model.nq].copy()
    mujoco.mj_integratePos(model, positions, state[1 + model.nq :], -2 * model.opt.timestep)
    back[1 : 1 + model.nq] = positions
    return back


def check_observations(env, task, demonstration, stride):
    """Sets every `stride`-th recorded state and compares what is observed in it."""
    states, wanted = demonstration["states"][::stride], recorded(demonstration)[::stride]

    def differences(moments):
        got = np.stack([env.reset_to_state(moment)[0] for moment in moments])
        return np.abs(with_recorded_signs(task, got, wanted) - wanted)

    env.reset_to_state(states[0], demonstration.attrs["model_file"])
    as_they_are = differences(states)
    assert as_they_are[0].max() < 1e-6  # observed at the reset itself
    assert (as_they_are < 5e-3).mean() > 0.99
    assert as_they_are.max() < 3e-2
    earlier = differences([two_simulation_steps_back(env, state) for state in states])[1:]
    assert (earlier < 5e-4).mean() > 0.99


def check_replay(env, task, demonstration):
    """Executes the recorded actions without looking; they must do the task, as recorded."""
    env.reset_to_state(demonstration["states"][0], demonstration.attrs["model_file"])
    env.unwrapped._sim._env._update_observables(force=True)
    wanted = recorded(demonstration)
    for i, action in enumerate(demonstration["actions"]):
        observation, reward, terminated, truncated, info = env.step(action)
        assert not truncated
        if i + 1 < len(wanted):
            next_wanted = wanted[i + 1 : i + 2]
            got = with_recorded_signs(task, observation[None], next_wanted)
            np.testing.assert_allclose(got, next_wanted, rtol=0, atol=1e-5)
        assert reward == demonstration["rewards"][i] == float(terminated)
        if terminated:
            assert info["success"] is True
            return
    pytest.fail("the recorded actions did not do the task")


@pytest.mark.parametrize("task", TASKS)
def test_recorded_states_give_the_recorded_observations(task):
    with h5py.File(FIXTURES / f"{task}.hdf5") as file:
        env = make(task, file)
        for demonstration in file["data"].values():
            check_observations(env, task, demonstration, stride=1)
        env.close()


@pytest.mark.parametrize("task", TASKS)
def test_recorded_actions_do_the_task_again(task):
    with h5py.File(FIXTURES / f"{task}.hdf5") as file:
        env = make(task, file)
        for demonstration in file["data"].values():
            check_replay(env, task, demonstration)
        env.close()


@pytest.mark.skipif("SCOREFLOW_SHARED_DATA" not in os.environ, reason="SCOREFLOW_SHARED_DATA is not set")
@pytest.mark.parametrize("task", TASKS)
def test_every_demonstration_of_the_whole_files(task):
    with h5py.File(Path(os.environ["SCOREFLOW_SHARED_DATA"]) / f"{task}_lowdim.hdf5") as file:
        env = make(task, file)
        for i, demonstration in enumerate(file["data"].values()):
            check_observations(env, task, demonstration, stride=10)
            if i % 10 == 0:
                check_replay(env, task, demonstration)
        env.close()
