"""A policy or a dataset and an environment fit, or one sentence says which of their sizes do not."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_scoreflow.data.schema import RawColumns, describe
from rllib_scoreflow.envs import env_dims
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, VisionConfig, apply_variant
from rllib_scoreflow.interface import Interface, check_fits
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig

IMAGES = (2, 8, 8, 3)


def interface(kind="environment", name="Small-v0", *, o=4, low=(-1.0, -1.0), high=(1.0, 1.0), **more) -> Interface:
    low, high = (np.array(bound, np.float32) for bound in (low, high))
    return Interface(
        kind=kind, name=name, observation_dim=o, action_dim=len(low), action_low=low, action_high=high, **more
    )


def made(kind: str) -> Interface:
    """The interface that a dataset or a policy of two cameras, five numbers and one action gives of itself."""
    if kind == "dataset":
        rows = np.arange(20, dtype=np.float32)
        columns = RawColumns(
            observations=np.tile(rows[:, None], (1, 5)),
            actions=rows[:, None] / 19,
            rewards=rows,
            terminals=rows == 19,
            timeouts=rows == -1,
            cameras=("left", "right"),
            images=np.zeros((20, *IMAGES), np.uint8),
        )
        return describe(columns, name="d", source="d.npz", source_sha256="0", env_id="Recorded-v0").interface()
    score, noise = apply_variant("flow")
    config = PolicyConfig(
        observation_dim=5,
        action_dim=1,
        cameras=("left", "right"),
        image_size=(8, 8),
        vision=VisionConfig(embed_dim=8, num_heads=1, patch_size=2, patch_stride=2, feature_dim=2),
        sde=SDEConfig(velocity=VelocityConfig(hidden_dim=16), score=score, noise=noise),
    )
    five, one = np.ones(5, np.float32), np.ones(1, np.float32)
    policy = FlowPolicy(config, observation_low=-five, observation_high=five, action_low=0 * one, action_high=one)
    return policy.interface("the policy 'p'")


@pytest.mark.parametrize("kind", ["policy", "dataset"])
def test_what_a_policy_and_a_dataset_say_of_themselves_fits_their_environment(kind):
    found = made(kind)
    assert (found.kind, found.observation_dim, found.action_dim) == (kind, 5, 1)
    assert (found.image_shape, found.cameras) == (IMAGES, ("left", "right"))
    assert (found.action_low.item(), found.action_high.item()) == (0, 1)
    check_fits(found, interface(o=5, low=[0], high=[1], image_shape=IMAGES, cameras=("left", "right")))
    check_fits(found, interface(o=5, low=[-np.inf], high=[np.inf], image_shape=IMAGES))  # of names unknown


def test_an_environment_says_what_gymnasium_says_of_it():
    found = env_dims("Hopper-v4")
    assert (found.kind, found.name, found.image_shape, found.cameras) == ("environment", "Hopper-v4", None, ())
    assert (found.observation_dim, found.action_dim) == (11, 3)
    assert found.action_low.tolist() == [-1] * 3
    assert found.action_high.tolist() == [1] * 3
    check_fits(interface("dataset", "d", o=11, low=[-1] * 3, high=[1] * 3), found)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"o": 27}, "has 4 observation and 2 action dimensions, the environment 'Small-v0' has 27 and 2; choose"),
        ({"low": [-1] * 8, "high": [1] * 8}, "has 4 observation and 2 action dimensions.*has 4 and 8; choose"),
        ({"image_shape": IMAGES}, r"shape None \(cameras.*'Small-v0' has \(2, 8, 8, 3\); set"),
        ({"high": (1.0, 0.5)}, "from -1 to 1 in dimension 1, outside the bounds -1 to 0.5 of.*'Small-v0'; "),
        ({"low": (-0.5, -1.0)}, "from -1 to 1 in dimension 0, outside the bounds -0.5 to 1 of.*'Small-v0'; "),
    ],
)
@pytest.mark.parametrize("kind", ["policy", "dataset"])
def test_what_does_not_fit_is_named_with_a_remedy(kind, env, words):
    check_fits(interface(kind, "mine"), interface())
    with pytest.raises(InputError, match=f"^mine .*{words}") as error:
        check_fits(interface(kind, "mine"), interface(**env))
    assert "\n" not in str(error.value)


def test_cameras_in_another_order_are_refused():
    policy = interface("policy", "mine", image_shape=IMAGES, cameras=("left", "right"))
    env = interface(image_shape=IMAGES, cameras=("left", "right"))
    check_fits(policy, env)
    check_fits(dataclasses.replace(policy, cameras=("front", "side")), env)  # a file of arrays has names of its own
    with pytest.raises(InputError, match=r"mine has the cameras left, right in this order.* has right, left"):
        check_fits(policy, dataclasses.replace(env, cameras=("right", "left")))


@given(bound=st.floats(1e-3, 1e4), excess=st.floats(0, 1))
def test_actions_may_lie_outside_by_a_rounding_and_by_no_more(bound, excess):
    env = interface(low=[-bound], high=[bound], o=1)
    largest = float(env.action_high[0]) * (1 + 1e-7)  # one rounding of float32
    check_fits(interface("dataset", "d", low=[-largest], high=[largest], o=1), env)
    outside = bound * (1.02 + excess)
    for low, high in ((-outside, 0.0), (0.0, outside)):
        with pytest.raises(InputError, match="outside the bounds"):
            check_fits(interface("dataset", "d", low=[low], high=[high], o=1), env)
