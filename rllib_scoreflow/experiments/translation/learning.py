"""What Learners do: framework, batches, GPUs, learning rates and their schedules."""

from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.renames.config_keys import FAKE_GPUS
from rllib_scoreflow.experiments.renames.table import say_renamed
from rllib_scoreflow.experiments.search_space import each_value, map_values
from rllib_scoreflow.experiments.translation.draft import Draft, absent

_RATES = {"actor_learning_rate": "actor_lr", "critic_learning_rate": "critic_lr", "entropy_learning_rate": "alpha_lr"}
_TENSORFLOW = {"tf", "tf2", "tfe"}
_TENSORFLOW_ONLY = ("eager_tracing", "eager_max_retraces", "tf_session_args", "local_tf_session_args")


def translate(draft: Draft) -> None:
    """Translate the keys about learning.

    Raises:
        InputError: one has no counterpart.
    """
    _choose_torch(draft)
    _drop_lambda_of_vtrace(draft)
    _move_schedule(draft, "lr_schedule", "lr")
    _move_schedule(draft, "entropy_coeff_schedule", "entropy_coeff")
    _split_gpus(draft)
    _split_batch(draft)
    _spread_learning_rates(draft)
    _drop_advantage_switch(draft)


def _choose_torch(draft: Draft) -> None:
    framework = draft.take("framework")
    if not absent(framework):
        for name in each_value(framework):
            if name in _TENSORFLOW:
                draft.say(f"framework: {name} is gone from RLlib, so torch is used")
            elif name != "torch":
                raise InputError(f"{draft.where}.framework is {quote(name)} and must be torch.")
        for key in _TENSORFLOW_ONLY:  # beside the framework's name they are that framework's, and torch has none
            value = draft.take(key)
            if not absent(value) and value != draft.defaults.get(key):
                draft.say(f"{key} is TensorFlow's alone, and torch is used")
    for key in ("use_pytorch", "eager"):
        value = draft.take(key)
        if not absent(value):
            draft.say(f"{key} is gone from RLlib, so torch is used")


def _move_schedule(draft: Draft, old: str, new: str) -> None:
    schedule = draft.take(old)
    if absent(schedule) or schedule is None:
        return
    if draft.defaults.get(new, "absent") == "absent" or draft.algorithm in ("SAC", "CQL", "DreamerV3"):
        raise draft.refuse(old, schedule, "this algorithm has a learning rate for each network")
    draft.config.pop(new, None)  # the schedule was what counted
    draft.config[new] = map_values(schedule, lambda rows: _from_start(draft, old, rows))
    draft.say(say_renamed(old, new))


def _from_start(draft: Draft, old: str, rows: Any) -> Any:
    """A schedule must begin at step 0."""
    good = isinstance(rows, list) and bool(rows) and all(isinstance(row, list) and len(row) == 2 for row in rows)
    if not good:
        raise InputError(f"{draft.where}.{old} is {quote(rows)} and must be a list of [step, value].")
    return rows if rows[0][0] == 0 else [[0, rows[0][1]], *rows]


def _split_gpus(draft: Draft) -> None:
    gpus = draft.take("num_gpus")
    if absent(gpus) or gpus is None or gpus == 0:
        return
    if gpus == draft.defaults.get("num_gpus") and "num_gpus_per_learner" in draft.config:
        return
    draft.one_value("num_gpus", gpus, "num_learners and num_gpus_per_learner")
    if not isinstance(gpus, int | float) or isinstance(gpus, bool) or gpus < 0:
        raise InputError(f"{draft.where}.num_gpus is {quote(gpus)} and must be a number.")
    learners = draft.config.get("num_learners")
    if draft.config.get(FAKE_GPUS) is True:
        del draft.config[FAKE_GPUS]
        draft.put("num_gpus", "num_learners", max(1, int(gpus)))
        draft.put("num_gpus", "num_gpus_per_learner", 0)
        draft.say(f"{FAKE_GPUS}: true is num_learners: {max(1, int(gpus))}, num_gpus_per_learner: 0 now")
        return
    if isinstance(learners, int) and learners > 0:
        each: float = gpus / learners
    elif gpus > 1:
        if gpus != int(gpus):
            raise InputError(f"{draft.where}.num_gpus is {quote(gpus)} and must be a whole number, or below 1.")
        draft.put("num_gpus", "num_learners", int(gpus))
        each = 1
    else:
        each = gpus
    draft.put("num_gpus", "num_gpus_per_learner", each)
    also = f"num_learners: {int(gpus)}, " if draft.config.get("num_learners") == gpus and gpus > 1 else ""
    draft.say(f"num_gpus: {gpus:g} is called {also}num_gpus_per_learner: {each:g} now")


def _split_batch(draft: Draft) -> None:
    size = draft.take("train_batch_size")
    if absent(size) or size is None:
        return
    if draft.algorithm == "DreamerV3":
        raise draft.refuse("train_batch_size", size, "DreamerV3's batch is batch_size_B * batch_length_T")
    learners = draft.config.get("num_learners", draft.defaults.get("num_learners"))
    several = learners if isinstance(learners, int) and learners > 1 else 1

    def share(total: Any) -> Any:
        whole = isinstance(total, int | float) and not isinstance(total, bool)
        return total // several if whole and several > 1 else total

    draft.put("train_batch_size", "train_batch_size_per_learner", map_values(size, share))
    draft.renamed["train_batch_size_per_learner"] = "train_batch_size"
    each = "" if several == 1 else f", and each of the {several} Learners has its share"
    draft.say(say_renamed("train_batch_size", "train_batch_size_per_learner") + each)


def _spread_learning_rates(draft: Draft) -> None:
    if draft.algorithm not in ("SAC", "CQL"):
        return
    given = draft.take("optimization")
    usual = draft.defaults.get("optimization")
    if not absent(given) and given is not None:
        if not isinstance(given, Mapping) or search_space.is_space(given):
            raise InputError(f"{draft.where}.optimization is {quote(given)} and must be a mapping.")
        for key, value in given.items():
            if key not in _RATES:
                raise InputError(f"{draft.where}.optimization has no key {quote(key)}; it has {', '.join(_RATES)}.")
            new = _RATES[key]
            if new in draft.config and given == usual:
                continue
            draft.put(f"optimization.{key}", new, value)
            draft.say(say_renamed(f"optimization.{key}", new))
    # The base class's rate must be empty in the new API stack, and CQL's own default is not.
    rate = draft.take("lr")
    if not absent(rate) and rate is not None and rate != draft.defaults.get("lr"):
        raise draft.refuse("lr", rate, f"{draft.algorithm} has actor_lr, critic_lr and alpha_lr")
    if draft.defaults.get("lr") is not None:
        draft.config["lr"] = None


def _drop_lambda_of_vtrace(draft: Draft) -> None:
    """A file that says ``vtrace: true`` says itself that its lambda is for the other estimator, which is gone."""
    if draft.algorithm != "APPO" or draft.config.get("vtrace") is not True:
        return
    for key in ("lambda", "use_gae"):
        if key in draft.config:
            del draft.config[key]
            draft.say(f"{key} has no part in vtrace: true, and APPO always computes V-trace now")


def _drop_advantage_switch(draft: Draft) -> None:
    """Without generalised advantages, an advantage is the return less the value: GAE with lambda 1."""
    use = draft.config.get("use_gae")
    if use is not False or draft.algorithm != "PPO":
        return
    del draft.config["use_gae"]
    draft.config.pop("lambda", None)  # nothing looked at it
    draft.config["lambda"] = 1.0
    draft.say("use_gae: false is lambda: 1.0 now")
