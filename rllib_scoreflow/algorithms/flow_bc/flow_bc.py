"""FlowBC: configuration and Algorithm of flow-matching behaviour cloning."""

import math
import time
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import LEARNER_RESULTS

from rllib_scoreflow.algorithms.common.algorithm import PolicyAlgorithm
from rllib_scoreflow.algorithms.common.config import OptionsConfig
from rllib_scoreflow.algorithms.common.options import build_section, overlay_env_config
from rllib_scoreflow.algorithms.common.ray_adapter import OfflineRestore, declare_offline
from rllib_scoreflow.algorithms.common.reported import Reported, own_results
from rllib_scoreflow.algorithms.common.rl_module import module_spec
from rllib_scoreflow.algorithms.flow_bc.flow_bc_learner import FlowBCLearner
from rllib_scoreflow.algorithms.flow_bc.offline_data import ChunkOfflineData, open_dataset
from rllib_scoreflow.algorithms.flow_bc.options import FlowBCOptions
from rllib_scoreflow.algorithms.flow_bc.training_length import GRADIENT_STEPS, planned_epochs, steps_left
from rllib_scoreflow.data import ChunkIndex
from rllib_scoreflow.envs import observation_space, require_time_limit, try_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import ChainConfig, SDEConfig, VisionConfig, apply_variant, default_steps
from rllib_scoreflow.flow.fields import FieldConfig, field_class
from rllib_scoreflow.interface import check_act_steps, check_fits
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata
from rllib_scoreflow.versions import installed_versions

_STATE = "flow_bc_early_stopping"  # and the number of gradient steps
_CHAIN_OF_A_CLONE = {"start", "mean_clip"}


class FlowBCConfig(OptionsConfig):
    """Configuration of FlowBC; the defaults are the published ones for Hopper.

    One iteration is one epoch; `gradient_steps` in its result counts the steps of all epochs so far, and
    `data_return_mean` is the mean return of the dataset's episodes.

    The options are those of `FlowBCOptions`, and RLlib's own; those of RLlib that would have no effect are refused with
    the reason (`rllib_scoreflow.algorithms.common.rllib_options` lists them all).
    """

    OPTIONS: ClassVar[type[FlowBCOptions]] = FlowBCOptions

    env_config: dict[str, Any]

    def __init__(self, algo_class: type | None = None) -> None:
        """Sets the defaults."""
        super().__init__(algo_class=algo_class or FlowBC)
        declare_offline(self)
        self.offline_data_class = ChunkOfflineData
        # What validate() has set itself.
        self._derived: dict[str, Any] = {}

    @override(AlgorithmConfig)
    def validate(self) -> None:
        """Checks every option, the dataset, and the dataset against the environment.

        Raises:
            InputError: On the first thing that is wrong.
        """
        if self.dataset is None:
            raise InputError("FlowBC needs the option 'dataset': a D4RL id such as hopper-medium-v2, or a file.")
        self.validate_options()
        dataset = open_dataset(self)
        ChunkIndex(dataset, self.horizon)  # refuses episodes that are shorter than chunks
        if self.env is not None:
            # What the recording environment was made with, unless the config says otherwise.
            recorded = dataset.info.env_config if dataset.info.env_id == self.env else {}
            self.env_config = overlay_env_config(recorded, self)
            dims = try_env(self.env, self.env_config)
            if self.evaluation_interval:
                require_time_limit(str(self.env), dims.max_episode_steps)
            check_fits(dataset.info.interface(), dims)
        elif self.evaluation_interval:
            raise InputError("Option 'evaluation_interval' needs an environment: set 'env'.")
        self.input_ = self.dataset  # last, like all that is derived: a config that was refused can be mended
        info, chunk = dataset.info, dataset.info.action_dim * self.horizon
        self.observation_space: gym.Space[Any] = observation_space(info.observation_dim, info.image_shape)
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (chunk,), np.float32)
        names = ("input_", "observation_space", "action_space")
        self._derived = {name: getattr(self, name) for name in names}
        super().validate()

    def validate_options(self) -> None:
        """Checks every option by itself, RLlib's too, before the dataset is opened.

        Raises:
            InputError: On the first one that is wrong or would have no effect.
        """
        classes = {"learner_class": FlowBCLearner, "offline_data_class": ChunkOfflineData}
        self.check_single_options(FlowBCConfig(), classes, self._derived)
        check_act_steps(self.act_steps, self.horizon)
        import_plugins(self.plugins)
        if self._velocity_config().takes_step_size and self.consistency_fraction == 0:
            raise InputError(
                f"Option 'consistency_fraction' is 0, and a field of kind '{self.velocity['kind']}' learns its steps "
                "from that share of a batch; leave it out, or take kind: flow."
            )
        self._chain_config()
        build_section("vision", VisionConfig, self.vision)

    def reported_results(self) -> Reported:
        """The results that a run with these options reports."""
        samples = "FlowBC plays no episodes while it trains; take training_iteration, train_loss or, with "
        samples += "evaluation_interval, eval_return_mean"
        beginnings = ("env_steps", "env_runners/", "num_env_steps_", "timesteps_total", "return_", "episode")
        absent = dict.fromkeys((*beginnings, "success_rate", "num_episodes"), samples)
        learner = {"train_loss", "samples_per_second", "lr/velocity", "grad_norm/velocity"}
        plain = {*learner, "epoch", GRADIENT_STEPS, "update_seconds", "data_return_mean"}
        if self.validation_fraction > 0:
            plain.add("validation_loss")
        else:
            absent["validation_loss"] = "no episodes are held out; set validation_fraction in `config`"
        learner |= {"gradient_steps", "skipped_updates", "num_trainable_parameters"}
        found = own_results(self, "FlowBC", plain=plain, learner=learner, absent=absent)
        return replace(found, growing=frozenset({GRADIENT_STEPS}))  # those of the whole run

    def cloned_policy(self) -> FlowPolicy:
        """A fresh policy with the dataset's shapes and statistics."""
        info = open_dataset(self).info
        score, noise = apply_variant("flow")
        config = PolicyConfig(
            observation_dim=info.observation_dim,
            action_dim=info.action_dim,
            horizon=self.horizon,
            act_steps=self.act_steps,
            cameras=info.cameras,
            image_size=info.image_size,
            vision=build_section("vision", VisionConfig, self.vision),
            sde=SDEConfig(
                velocity=self._velocity_config(),
                score=score,
                noise=noise,
                chain=self._chain_config(),
            ),
        )
        return FlowPolicy(
            config,
            observation_low=info.observation_min,
            observation_high=info.observation_max,
            action_low=info.action_min,
            action_high=info.action_max,
            metadata=PolicyMetadata(
                variant="flow",
                env_id=None if self.env is None else str(self.env),
                env_config=dict(self.env_config),
                dataset=info.name,
                dataset_sha256=info.content_sha256,
                versions=installed_versions(),
            ),
        )

    def _velocity_config(self) -> FieldConfig:
        field: FieldConfig = build_section("velocity", field_class(self.velocity).CONFIG, self.velocity)
        return field

    def _chain_config(self) -> ChainConfig:
        for key in sorted(self.chain.keys() & ChainConfig.model_fields.keys() - _CHAIN_OF_A_CLONE):
            remedy = (
                f"set the option '{key}' itself"
                if key in self.OPTIONS.model_fields
                else "set it where the clone is fine-tuned"
            )
            raise InputError(f"Option 'chain.{key}' has no effect on FlowBC; {remedy}.")
        steps = self.denoising_steps or default_steps(self._velocity_config())
        chain: ChainConfig = build_section("chain", ChainConfig, {**self.chain, "denoising_steps": steps})
        if chain.start == "learned":
            raise InputError(
                "Option 'chain.start' is 'learned', and a new clone has no learned start; clone first, and search one "
                "with rllib evaluate RUN --search-start N."
            )
        return chain

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[FlowBCLearner]:
        """The Learner unless `training(learner_class=...)` names another."""
        return FlowBCLearner

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The module with a policy and without critic."""
        return module_spec(self.cloned_policy(), critic=None, behavior_coeff=0.0, precision=self.precision)


class FlowBC(PolicyAlgorithm, OfflineRestore):
    """Behaviour cloning of a flow policy; one iteration is one epoch."""

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> FlowBCConfig:
        """The default configuration."""
        return FlowBCConfig()

    @override(Algorithm)
    def setup(self, config: FlowBCConfig) -> None:
        """Opens the dataset and builds the Learners."""
        super().setup(config)
        self._template: FlowPolicy = self.config.cloned_policy()
        self._best_validation_loss = float("inf")
        self._epochs_since_best = 0
        for note in self.offline_data.notes:
            self.note(f"dataset {self.offline_data.dataset.info.name}: {note}")
        self._gradient_steps: int | None = 0
        self._steps_of_last_epoch = 0
        self._steps_per_epoch = self.offline_data.steps_per_epoch()
        self._planned_epochs = planned_epochs(self.config.planned_stop, self._steps_per_epoch)

    def policy_template(self) -> FlowPolicy:
        """A fresh policy of the configured shape."""
        return self._template

    def policy_metadata(self) -> PolicyMetadata:
        """Origin: the dataset."""
        return self._template.metadata

    @override(Algorithm)
    def training_step(self) -> None:
        """One epoch on all Learners, then the validation loss."""
        epoch = self.iteration
        if self._gradient_steps is None:
            self._gradient_steps = epoch * self._steps_per_epoch
        if self.config.streaming:
            data = {"data_iterators": self.offline_data.epoch_stream(epoch, self.config.num_learners)}
        else:
            data = {"batch": self.offline_data.epoch_batch(epoch, self.config.num_learners)}
        started = time.perf_counter()
        results = self.learner_group.update(
            **data,
            planned_epochs=self._planned_epochs,
            max_steps=steps_left(self.config.planned_stop, self._gradient_steps),
        )
        update_seconds = time.perf_counter() - started
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        names = ("train_loss", "samples_per_second", "lr/velocity", "grad_norm/velocity")
        values = {name: self.metrics.peek((LEARNER_RESULTS, DEFAULT_MODULE_ID, name)) for name in names}
        self._steps_of_last_epoch = int(self.metrics.peek((LEARNER_RESULTS, DEFAULT_MODULE_ID, GRADIENT_STEPS)))
        self._gradient_steps += self._steps_of_last_epoch
        self.log_plain(
            {
                "epoch": epoch + 1,
                GRADIENT_STEPS: self._gradient_steps,
                "update_seconds": update_seconds,
                "data_return_mean": self.offline_data.dataset.info.mean_return,
                **values,
            }
        )
        self._validate_policy()

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state plus that of early stopping."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state[_STATE] = {
            "best": self._best_validation_loss,
            "epochs_since": self._epochs_since_best,
            GRADIENT_STEPS: self._gradient_steps,
        }
        return state

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state of `get_state`."""
        super().set_state(state)
        if _STATE in state:
            self._best_validation_loss = float(state[_STATE]["best"])
            self._epochs_since_best = int(state[_STATE]["epochs_since"])
            # Checkpoints of earlier releases do not count the steps of their epochs, which were whole ones.
            self._gradient_steps = state[_STATE].get(GRADIENT_STEPS)

    def is_over(self) -> bool:
        """Whether early stopping or `planned_stop` ends the training with the present epoch."""
        wanted, done = (self.config.planned_stop or {}).get(GRADIENT_STEPS, math.inf), self._gradient_steps or 0
        reached = done - self._steps_of_last_epoch < wanted <= done
        return self._is_stopped_early() or reached or self.iteration + 1 == self._planned_epochs

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        """One iteration; marks the result as done when early stopping strikes."""
        results = super().step()
        if self._is_stopped_early():
            results["done"] = True
        return results

    def _is_stopped_early(self) -> bool:
        patience = self.config.early_stopping_patience
        return patience is not None and self._epochs_since_best >= patience

    def _validate_policy(self) -> None:
        starts = self.offline_data.validation_starts(limit=8192)
        if len(starts) == 0:
            return
        losses = self.learner_group.foreach_learner(lambda learner: learner.validation_loss(starts))
        loss = next(result.get() for result in losses)
        self.log_plain({"validation_loss": loss})
        improved = loss < self._best_validation_loss
        self._best_validation_loss = min(loss, self._best_validation_loss)
        self._epochs_since_best = 0 if improved else self._epochs_since_best + 1
