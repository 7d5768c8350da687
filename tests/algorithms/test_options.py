"""One model holds every option: attributes, checks, help and `training()` follow it, a user's own model too."""

import inspect
from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from rllib_scoreflow.algorithms.common.options import AlgorithmOptions
from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.options import ScoreFlowOptions
from rllib_scoreflow.errors import InputError

CONFIGS = [FlowBCConfig, ScoreFlowConfig]


class PenaltyOptions(ScoreFlowOptions):
    penalty: Annotated[float, Field(ge=0.0)] = 0.5
    """What a step costs."""
    gamma: float = 0.9
    """Another default."""


class PenaltyConfig(ScoreFlowConfig):
    """ScoreFlow that pays for steps."""

    OPTIONS: ClassVar[type[PenaltyOptions]] = PenaltyOptions


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_is_an_attribute_described_and_in_the_signature(config) -> None:
    fresh, parameters = config(), inspect.signature(config.training).parameters
    for name, field in config.OPTIONS.model_fields.items():
        assert field.description, name
        assert getattr(fresh, name) == parameters[name].default == field.get_default(call_default_factory=True)
        assert f"    {name} (" in config.__doc__
    assert parameters["lr"].annotation is float
    assert "learner_class" in parameters, "an option of RLlib's that has its effect"
    assert not {"model", "optimizer", "train_batch_size"} & set(parameters), "options of RLlib's without any"


@pytest.mark.parametrize("config", CONFIGS)
def test_defaults_are_not_shared(config) -> None:
    first, second = config(), config()
    first.plugins.append("mine")
    assert second.plugins == [] == config.OPTIONS.defaults()["plugins"]


def test_training_sets_what_is_given_and_nothing_else() -> None:
    config = ScoreFlowConfig().training(gamma=0.5).training(lr=0.1, learner_class=None)
    assert (config.gamma, config.lr, config.num_epochs) == (0.5, 0.1, 20)
    with pytest.raises(TypeError, match="no_option"):
        config.training(no_option=1)


def test_a_users_own_options_are_set_checked_and_shown() -> None:
    config = PenaltyConfig().training(penalty=2.0, lr=0.1)
    assert (config.penalty, config.lr, config.gamma) == (2.0, 0.1, 0.9)
    config.validate_options()
    with pytest.raises(InputError, match=r"Option 'penalty' of PenaltyConfig is -1\.0: .*greater than or equal to 0"):
        config.training(penalty=-1.0).validate_options()
    assert "penalty (number >= 0; default 0.5): What a step costs." in PenaltyConfig.__doc__
    assert "penalty" not in ScoreFlowConfig.__doc__
    assert PenaltyConfig.from_state(PenaltyConfig().training(penalty=3.0).get_state()).penalty == 3.0


def test_rllibs_timeout_may_be_none() -> None:
    ScoreFlowConfig().env_runners(sample_timeout_s=None).validate_options()


@pytest.mark.parametrize("config", CONFIGS)
def test_what_both_share_is_described_once(config) -> None:
    for name in AlgorithmOptions.model_fields:
        assert config.OPTIONS.model_fields[name].description == AlgorithmOptions.model_fields[name].description
