"""The two experiments of a draft, with a reason for every choice: the measured settings of `tuned_examples`, scaled."""

import math
from dataclasses import dataclass
from typing import Any

from rllib_scoreflow.experiments.drafts.facts import Choice, Facts, figure, percent, round_down
from rllib_scoreflow.experiments.drafts.start import choose_start

STEPS_K = 4
_START_UP_SECONDS = 40.0  # of Ray, twice
# Shares of the time; what is left is for `rllib evaluate --attribute`.
_CLONING, _CLONING_ALONE, _TUNING, _EVALUATING = 0.25, 0.8, 0.5, 0.25
_USUAL_MINUTES = 15.0
_GRADIENT_STEPS, _LEAST_GRADIENT_STEPS = 12_000, 500
_EPOCHS = 1_500  # the longest published cloning
_ENV_STEPS = 1_000_000
_EPISODES, _LEAST_EPISODES = 20, 4
_SLOW_SIMULATOR = 500.0  # steps per second, below which it and not the network takes the time
# What a step of the chain costs, in chunks of cloning: in an epoch of an update (measured on HalfCheetah, Reacher and a
# double pendulum: 0.36 to 0.67), and in a rollout beside the simulator (1.7 to 3.3).
_UPDATE, _SAMPLING = 0.6, 2.5


@dataclass(frozen=True)
class Stage:
    """One experiment.

    Attributes:
        name: its name.
        run: the algorithm.
        head: further keys beside `config`, each a choice.
        config: its choices.
    """

    name: str
    run: str
    head: tuple[Choice, ...]
    config: tuple[Choice, ...]

    def as_mapping(self) -> dict[str, Any]:
        """What the YAML says."""
        keys = {each.key: each.value for each in self.head}
        return {"run": self.run, **keys, "config": {each.key: each.value for each in self.config}}


def choose_width(facts: Facts) -> Choice:
    """Choose the width of the network: by what the time goes to."""
    narrow, wide = (1e3 / facts.gradient_speeds[width] for width in (256, 512))
    cost = f"a gradient step takes {figure(narrow)} ms at 256 and {figure(wide)} ms at 512 here"
    numbers = facts.info.observation_dim + facts.chunk.steps * facts.info.action_dim
    if facts.simulator_speed is None:
        return Choice("velocity", {"hidden_dim": 512}, f"Published is 512; {cost}, and cloning has all of the time")
    speed = f"The simulator makes {facts.simulator_speed:,.0f} steps a second here"
    if facts.simulator_speed < _SLOW_SIMULATOR or numbers > 100:
        why = "it takes the time" if facts.simulator_speed < _SLOW_SIMULATOR else f"{numbers} numbers go through it"
        return Choice("velocity", {"hidden_dim": 512}, f"{speed} and {cost}; {why}, so the network is as published")
    return Choice(
        "velocity",
        {"hidden_dim": 256},
        f"{speed} and {cost}; the network takes the time, so it is half of the published 512, as in hopper-demo.yaml",
    )


def clone_stage(name: str, facts: Facts, width: Choice) -> Stage:
    """The cloning.

    Args:
        name: of the experiment.
        facts: what is known.
        width: from `choose_width`.
    """
    info, batch, speed = facts.info, facts.batch, facts.gradient_speeds[width.value["hidden_dim"]]
    alone = facts.simulator_speed is None
    seconds = (60.0 * facts.minutes - _START_UP_SECONDS) * (_CLONING_ALONE if alone else _CLONING)
    epoch = max(1, facts.num_training_chunks // batch)
    wanted = min(_GRADIENT_STEPS * max(1.0, facts.minutes / _USUAL_MINUTES), _EPOCHS * epoch)
    steps = max(min(_LEAST_GRADIENT_STEPS, _EPOCHS * epoch), round_down(min(wanted, seconds * speed)))
    epochs = math.ceil(steps / epoch)
    head = [
        Choice(
            "stop",
            {"gradient_steps": steps},
            f"About {_minutes(steps / speed)} at {figure(speed)} gradient steps a second (measured here, one thread), "
            f"and {figure(steps / epoch)} times all {facts.num_chunks:,} chunks. The learning rate falls meanwhile",
        )
    ]
    config = [
        Choice("seed", 0, "Another seed is another run"),
        Choice("dataset", facts.dataset, f"{info.num_steps:,} steps in {info.num_episodes:,} episodes"),
        *_plugins(facts),
        *_reading(facts),
        *_lengths(facts),
        Choice(
            "denoising_steps",
            STEPS_K,
            "Steps from noise to a chunk; as published for fine-tuning, so that what is judged is what is fine-tuned",
        ),
        choose_start(facts.analysis),
        width,
        Choice("train_batch_size_per_learner", batch, f"So an epoch has {epoch:,} steps; published are 128 and 256"),
        Choice("lr", 1.0e-3, "As published for state; it falls to lr_min over the whole cloning"),
        Choice("lr_min", 1.0e-4, "As published"),
    ]
    if steps < 4_000:
        config.append(
            Choice("ema_warmup_steps", steps // 10, f"The weights' average follows sooner in only {steps:,} steps")
        )
    if facts.validation_fraction == 0.0:
        config.append(
            Choice("validation_fraction", 0.0, "Only one episode holds whole chunks, so that none can be held out")
        )
    if not alone:
        head.insert(0, Choice("env", facts.found.env_id, _why_env(facts)))
        config += [*_time_limit(facts), *_evaluation(facts, epochs, "Without exploration, at the end of the cloning")]
    return Stage(name, "FlowBC", tuple(head), tuple(config))


def tune_stage(name: str, clone: str, facts: Facts, width: Choice) -> Stage:
    """The fine-tuning; there is an environment.

    Args:
        name: of the experiment.
        clone: name of the cloning.
        facts: what is known.
        width: from `choose_width`.
    """
    assert facts.simulator_speed is not None
    act, sparse, slow = facts.chunk.steps, facts.is_sparse, facts.simulator_speed < _SLOW_SIMULATOR
    runners, envs = (2, 10) if slow else (0, 20)
    epochs = 10 if sparse else 5
    simulating = 1.0 / (facts.simulator_speed * max(1, runners))
    row = 1.0 / (facts.gradient_speeds[width.value["hidden_dim"]] * facts.batch)
    learning = STEPS_K * row * (_UPDATE * epochs + _SAMPLING) / act
    budget = (60.0 * facts.minutes - _START_UP_SECONDS) * _TUNING
    wanted = _ENV_STEPS * max(1.0, facts.minutes / _USUAL_MINUTES)
    affordable = budget * (1.0 - _EVALUATING) / (simulating + learning)
    chunks = min(wanted, affordable) / act
    fragment = max(20, math.ceil(min(4_000.0, max(600.0, chunks / 40)) / (envs * max(1, runners))))
    rollout = fragment * envs * max(1, runners)
    iterations = max(4, int(chunks / rollout))
    steps = iterations * rollout * act
    spent = steps * (simulating + learning)
    why_stop = (
        f"{iterations} iterations of {rollout * act:,} steps, about {_minutes(spent)}: the simulator makes "
        f"{facts.simulator_speed:,.0f} steps a second and {figure(1e6 * learning)} microseconds of each step are "
        "learning (measured here)"
    )
    head = (
        Choice("env", facts.found.env_id, "As above"),
        Choice("weights_from", clone, "The clone above"),
        Choice("stop", {"env_steps": steps}, why_stop),
    )
    config = [
        Choice("seed", 0, "As above"),
        *_plugins(facts),
        *_rollouts(facts, runners, envs, fragment, rollout),
        *(_sparse_settings(facts, rollout, iterations) if sparse else _dense_settings(facts, rollout, width)),
        Choice("lr_cycle_iterations", iterations, "The learning rate falls once, over the whole run"),
        Choice("lr_warmup_iterations", _first(iterations), f"Of {iterations}; 2 as in hopper-demo.yaml, 1 of few"),
        Choice("schedule_iterations", iterations, "The noise is annealed over the whole run"),
        *_evaluation(facts, *_how_often(facts, iterations)),
    ]
    return Stage(name, "ScoreFlow", head, tuple(config))


def _plugins(facts: Facts) -> list[Choice]:
    return [Choice("plugins", list(facts.plugins), "As given to rllib init")] if facts.plugins else []


def _reading(facts: Facts) -> list[Choice]:
    """Options of reading that were given, and those without which the data would be refused."""
    found = [
        Choice(key, list(value) if isinstance(value, tuple) else value, "As given to rllib init")
        for key in ("filter_key", "observation_keys", "cameras")
        if (value := getattr(facts.options, key)) is not None
    ]
    constant = facts.analysis.constant_observations
    if constant:
        shown = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
        found.append(
            Choice(
                "constant_observations",
                "allow",
                f"{len(constant)} of {facts.info.observation_dim} numbers never change (measured: {shown}); if they "
                "should, the recording is wrong",
            )
        )
    return found


def _lengths(facts: Facts) -> list[Choice]:
    return [
        Choice("horizon", facts.chunk.steps, facts.chunk.reason),
        Choice("act_steps", facts.chunk.steps, "All of a chunk is executed, so that all of it is learned from"),
    ]


def _time_limit(facts: Facts) -> list[Choice]:
    if facts.found.dims is None or facts.found.dims.max_episode_steps is not None:
        return []
    return [
        Choice(
            "max_episode_steps",
            facts.limit,
            "The environment has no time limit; this is the longest recorded episode. It goes with the policy",
        )
    ]


def _how_often(facts: Facts, iterations: int) -> tuple[int, str]:
    """Iterations between evaluations of the fine-tuning, and why: fewer where the simulator is slow."""
    if _seconds(facts, 5 * _EPISODES) <= 60.0 * facts.minutes * _TUNING * _EVALUATING:
        return max(1, iterations // 4), "Without exploration, before the first update and then about four times"
    return iterations, "Without exploration, before the first update and at the end, since the simulator is slow"


def _evaluation(facts: Facts, interval: int, when: str) -> list[Choice]:
    """Evaluations of as many episodes as there is time for."""
    available = 60.0 * facts.minutes * _TUNING * _EVALUATING / 2
    episodes = int(min(_EPISODES, max(_LEAST_EPISODES, available / _seconds(facts, 1))))
    spread, error = figure(facts.analysis.return_std), figure(facts.analysis.return_std / math.sqrt(episodes))
    known = f"With the data's spread of returns, {spread}, a mean over {episodes} is known to {error}"
    if facts.is_sparse:
        known = f"A success rate over {episodes} is known to {percent(0.5 / math.sqrt(episodes))} or better"
    return [
        Choice("evaluation_interval", interval, when),
        Choice(
            "evaluation_duration",
            episodes,
            f"{known}; the simulator takes about {_minutes(_seconds(facts, episodes))} for them",
        ),
    ]


def _seconds(facts: Facts, episodes: int) -> float:
    """What the simulator takes for episodes of up to twice the recorded length."""
    assert facts.simulator_speed is not None
    return episodes * min(facts.limit, 2 * facts.analysis.lengths[1]) / facts.simulator_speed


def _rollouts(facts: Facts, runners: int, envs: int, fragment: int, rollout: int) -> list[Choice]:
    length = facts.chunk.steps * rollout / max(1, facts.analysis.lengths[1])
    many = f"{rollout:,} chunks an iteration, as many steps as {figure(length)} of the recorded episodes (median "
    many += f"{facts.analysis.lengths[1]} steps)"
    if not runners:
        return [
            Choice("num_envs_per_env_runner", envs, "As in hopper-demo.yaml; they share one pass of the network"),
            Choice("rollout_fragment_length", fragment, many),
        ]
    slow = f"{facts.simulator_speed:,.0f} steps a second are slow, so that two processes play (measured)"
    return [
        Choice("num_env_runners", runners, slow),
        Choice("num_cpus_per_env_runner", 0.5, "With the main process, which rests while they play, 2 CPUs"),
        Choice("num_envs_per_env_runner", envs, "As in lift-lowdim.yaml"),
        Choice("rollout_fragment_length", fragment, many),
    ]


@dataclass(frozen=True)
class _Noise:
    """Published bounds of the exploration, and from which deviation of the actions on they are taken."""

    least_deviation: float
    sigma_min: float
    sigma_max: float
    entropy_coeff: float
    task: str


# Of the recordings that stand in for the published ones: Hopper 0.54, Walker2d 0.63, Ant 0.32.
_NOISES = (
    _Noise(0.45, 0.10, 0.24, 0.03, "Hopper and Walker2d"),
    _Noise(0.30, 0.08, 0.16, 0.03, "Ant"),
    _Noise(0.00, 0.05, 0.12, 0.0, "kitchen"),
)


def _dense_settings(facts: Facts, rollout: int, width: Choice) -> list[Choice]:
    deviation = _action_deviation(facts)
    noise = next(each for each in _NOISES if deviation >= each.least_deviation)
    lr = 2.0e-4 if width.value["hidden_dim"] == 256 else 1.0e-4
    per_episode = facts.analysis.lengths[1] / facts.chunk.steps
    return [
        Choice(
            "noise",
            {"sigma_min": noise.sigma_min, "sigma_max": noise.sigma_max},
            f"Exploration, in half ranges of the action, of which the recorded actions' own deviation is "
            f"{figure(deviation)} (measured): as published for {noise.task}",
        ),
        Choice("chain", _chain(facts, clamp=noise.sigma_min < 0.1), _why_chain(noise.sigma_min < 0.1)),
        Choice(
            "gamma",
            0.99,
            f"Per chunk, of which a median episode has {figure(per_episode)}; as published for dense rewards",
        ),
        Choice("entropy_coeff", noise.entropy_coeff, f"As published for {noise.task}, together with that noise"),
        Choice("lr", lr, "As in hopper-demo.yaml (256) and hopper.yaml (512), measured for these rollouts"),
        Choice("lr_min", 0.5 * lr, "Half of it at the end"),
        Choice("num_epochs", 5, "As in hopper-demo.yaml"),
        Choice("minibatch_size", rollout // 4, f"{5 * (rollout // (rollout // 4))} gradient steps an iteration"),
    ]


def _first(iterations: int) -> int:
    """How many iterations the beginning may be cautious."""
    return 2 if iterations >= 12 else 1


def _sparse_settings(facts: Facts, rollout: int, iterations: int) -> list[Choice]:
    success = facts.analysis.success_share
    seen = "no reward is recorded" if success is None else f"rewards are 0 or 1, above 0 in {percent(success)} of the "
    seen += "" if success is None else "episodes"
    per_episode = facts.analysis.lengths[1] / facts.chunk.steps
    return [
        Choice(
            "noise",
            {"sigma_min": 0.05, "sigma_max": 0.10},
            f"Exploration, in half ranges of the action. Measured: {seen}, so that a failure by noise teaches nothing: "
            "little, as in lift-lowdim.yaml",
        ),
        Choice("chain", _chain(facts, clamp=True), _why_chain(True)),
        Choice(
            "gamma",
            0.999,
            f"Per chunk, of which a median episode has {figure(per_episode)}: its end must count at its start",
        ),
        Choice("entropy_coeff", 0.0, "More noise does not find more where only success is rewarded"),
        Choice("lr", 3.0e-5, "As in lift-lowdim.yaml; larger steps follow chance where few episodes differ"),
        Choice("lr_min", 2.0e-5, "As there"),
        Choice(
            "critic_warmup_iterations",
            _first(iterations),
            "As there: the policy waits until the critic knows a success from a failure",
        ),
        Choice("num_epochs", 10, "As there"),
        Choice("minibatch_size", rollout // 3, "As there, a third of the rollout"),
    ]


def _chain(facts: Facts, *, clamp: bool) -> dict[str, Any]:
    start = choose_start(facts.analysis).value["start"]
    return {"denoising_steps": STEPS_K, "start": start, **({"logp_clamp": None} if clamp else {})}


def _why_chain(unclamped: bool) -> str:
    why = "K and start as above, for the same reasons"
    return why + ("; log-probabilities of so little noise pass the published bound of 1" if unclamped else "")


def _action_deviation(facts: Facts) -> float:
    """Root mean square over the action's numbers of their standard deviations, in half ranges."""
    half = (facts.info.action_max - facts.info.action_min) / 2
    varies = half > 0
    return float(((facts.analysis.action_std[varies] / half[varies]) ** 2).mean() ** 0.5)


def _why_env(facts: Facts) -> str:
    found = facts.found
    assert found.dims is not None
    return f"{found.reason[0].upper()}{found.reason[1:]}; its spaces fit the data's"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"
