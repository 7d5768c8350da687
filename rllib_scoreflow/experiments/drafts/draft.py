"""From a dataset to the text of an experiment file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.data import D4RL_DATASETS, ROBOMIMIC_DATASETS, SHIPPED, ChunkIndex, TrajectoryDataset
from rllib_scoreflow.data.analysis import analyse_dataset
from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.experiments.drafts.environment import find_environment
from rllib_scoreflow.experiments.drafts.facts import WIDTHS, Facts, choose_batch
from rllib_scoreflow.experiments.drafts.page import write_page
from rllib_scoreflow.experiments.drafts.speed import gradient_speed, simulator_speed
from rllib_scoreflow.experiments.drafts.stages import Stage, choose_width, clone_stage, tune_stage
from rllib_scoreflow.experiments.drafts.start import choose_chunk
from rllib_scoreflow.files.user_paths import expand_user


@dataclass(frozen=True)
class Draft:
    """An experiment file that is not yet written.

    Attributes:
        text: the YAML.
        stages: its experiments, in order.
        facts: what its choices were made from.
    """

    text: str
    stages: tuple[Stage, ...]
    facts: Facts


def draft_file(
    opened: TrajectoryDataset,
    dataset: str,
    options: ReadOptions,
    *,
    file: Path,
    command: str,
    env: str | None = None,
    minutes: float = 15.0,
    plugins: Sequence[str] = (),
) -> Draft:
    """Look at a dataset and write an experiment file for it: a cloning, and with an environment a fine-tuning.

    Args:
        opened: the dataset, whose observations may be constant.
        dataset: what it was opened by.
        options: what was read of it.
        file: where the text will be written; its experiments are named after it, so that `as_name` must not change it.
        command: what makes the file again, for its head.
        env: the environment; None to guess it.
        minutes: how long the file may take.
        plugins: modules that were imported for it, and are in training.

    Raises:
        InputError: the environment is unknown, cannot be made or does not fit the dataset; episodes that are too short.
        SimulatorError: the environment raises an exception.
    """
    analysis = analyse_dataset(opened)
    chunk = choose_chunk(analysis)
    found = find_environment(opened.info, env)
    longest = analysis.lengths[2]
    limit = longest if found.dims is None else found.dims.max_episode_steps or longest
    speed = None
    if found.env_id is not None and found.dims is not None:
        recorded = opened.info.env_config if opened.info.env_id == found.env_id else {}
        speed = simulator_speed(found.env_id, found.dims, recorded, limit, chunk.steps)
    index = ChunkIndex(opened, chunk.steps)
    batch = choose_batch(len(index))
    held_out = 0.0 if index.num_episodes == 1 else float(FlowBCConfig().validation_fraction)
    facts = Facts(
        dataset=_lasting(dataset),
        options=options,
        info=opened.info,
        analysis=analysis,
        num_chunks=len(index),
        num_training_chunks=len(index.split(held_out, seed=0)[0]),
        validation_fraction=held_out,
        chunk=chunk,
        found=found,
        limit=limit,
        simulator_speed=speed,
        batch=batch,
        gradient_speeds={
            width: _gradient_speed(opened, dataset, options, steps=chunk.steps, width=width, batch=batch)
            for width in WIDTHS
        },
        minutes=minutes,
        plugins=tuple(plugins),
    )
    stem, width = file.stem, choose_width(facts)
    stages = [clone_stage(f"{stem}-pretrain", facts, width)]
    if speed is not None:
        stages.append(tune_stage(f"{stem}-finetune", stages[0].name, facts, width))
    return Draft(write_page(command, file.name, facts, stages), tuple(stages), facts)


def _lasting(dataset: str) -> str:
    """What names the dataset from every folder."""
    path = expand_user(dataset)
    published = dataset in SHIPPED or dataset in D4RL_DATASETS or dataset in ROBOMIMIC_DATASETS
    return dataset if published or not path.exists() else str(path.absolute())


def _gradient_speed(
    opened: TrajectoryDataset, dataset: str, options: ReadOptions, *, steps: int, width: int, batch: int
) -> float:
    config = FlowBCConfig()
    config.update_from_dict(
        {
            "dataset": dataset,
            "constant_observations": "allow",
            "horizon": steps,
            "act_steps": steps,
            "velocity": {"hidden_dim": width},
            "filter_key": options.filter_key,
            "observation_keys": None if options.observation_keys is None else list(options.observation_keys),
            "cameras": None if options.cameras is None else list(options.cameras),
        }
    )
    return gradient_speed(config.cloned_policy(), opened, batch, config.lr)
