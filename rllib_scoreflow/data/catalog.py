"""Published datasets by their publishers' ids: addresses, environments, D4RL's reference scores."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.suggest import similar

_STANFORD = "http://downloads.cs.stanford.edu/downloads/rt_benchmark"
_BUCKET = "http://rail.eecs.berkeley.edu/datasets/offline_rl"

# Name of the dataset in the package, and its file under `data/shipped/`.
SHIPPED = MappingProxyType({"hopper-small": "hopper-small.parquet"})


@dataclass(frozen=True)
class DatasetEntry:
    """One published dataset.

    Attributes:
        dataset_id: D4RL's id, for example "hopper-medium-v2", or "robomimic/can-ph".
        url: address in D4RL's public bucket, or on Robomimic's server.
        file_name: last part of the address (for Robomimic the last three), also the name in the cache.
        env_id: the gymnasium id of the environment; for ant and kitchen, whose D4RL observations
            are not gymnasium's, it is the D4RL id itself, under which an adapter stands.
        reference_score: (random, expert) mean returns of D4RL's normalised score, or None.
        constant_observations: observation dimensions that never change are known and allowed.
        demonstrations_url: where the same demonstrations lie without observations, to render images from, or None.
        size: bytes of the file, where known.
        sha256: its hash, where known; of the others the first download's is kept and compared (`download`).
    """

    dataset_id: str
    url: str
    file_name: str
    env_id: str
    reference_score: tuple[float, float] | None
    constant_observations: bool
    demonstrations_url: str | None = None
    size: int | None = None
    sha256: str | None = None


# Environment, reference score, observation padded with zeros.
_LOCOMOTION: dict[str, tuple[str | None, tuple[float, float], bool]] = {
    "hopper": ("Hopper-v4", (-20.272305, 3234.3), False),
    "walker2d": ("Walker2d-v4", (1.629008, 4592.3), False),
    "halfcheetah": ("HalfCheetah-v4", (-280.178953, 12135.0), False),
    "ant": (None, (-325.6, 3879.7), True),
}
# Tasks of the Adroit hand, likewise.
_ADROIT = {
    "door": ("AdroitHandDoor-v1", (-56.512833, 2880.5693087298737)),
    "hammer": ("AdroitHandHammer-v1", (-274.856578, 12794.134825156867)),
    "pen": ("AdroitHandPen-v1", (96.262799, 3076.8331017826877)),
    "relocate": ("AdroitHandRelocate-v1", (-6.425911, 4233.877797728884)),
}
_QUALITIES = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")
# File, bytes, SHA-256.
_KITCHEN = {
    "complete": (
        "mini_kitchen_microwave_kettle_light_slider-v0.hdf5",
        556_544,
        "cd797c38cd52dfbe3f960cef73935cc724847abd189e47a703a7a2315ed60a81",
    ),
    "partial": (
        "kitchen_microwave_kettle_light_slider-v0.hdf5",
        19_558_459,
        "57bfd9c5fe88a7cf702bbaf8b7cd800d30cd869e7f73416007238d26cd859800",
    ),
    "mixed": (
        "kitchen_microwave_kettle_bottomburner_light-v0.hdf5",
        19_560_760,
        "a30382a50278fdaea2e2d88e5f2836a95bcf9b581d252617872fd6537302721b",
    ),
}


def _entries() -> list[DatasetEntry]:
    entries = []
    for robot, (env_id, reference, constant) in _LOCOMOTION.items():
        for quality in _QUALITIES:
            name = f"{robot}-{quality}-v2"
            file_name = f"{robot}_{quality.replace('-', '_')}-v2.hdf5"
            url = f"{_BUCKET}/gym_mujoco_v2/{file_name}"
            entries.append(DatasetEntry(name, url, file_name, env_id or name, reference, constant))
    for task, (adroit_id, score) in _ADROIT.items():
        for kind in ("human", "cloned", "expert"):
            name = f"{task}-{kind}-v1"
            url = f"{_BUCKET}/hand_dapg_v1/{name}.hdf5"
            entries.append(DatasetEntry(name, url, f"{name}.hdf5", adroit_id, score, False))
    for kind, (file_name, size, sha256) in _KITCHEN.items():
        name = f"kitchen-{kind}-v0"
        url = f"{_BUCKET}/kitchen/{file_name}"
        entry = DatasetEntry(name, url, file_name, name, (0.0, 4.0), True, size=size, sha256=sha256)
        entries.append(entry)
    return entries


def _robomimic_entries() -> list[DatasetEntry]:
    """Return what robomimic 0.3.0 registers for robosuite 1.4.1; images have no address there, see its registry."""
    entries = []
    for task in ("lift", "can", "square", "transport"):
        for quality in ("ph", "mh"):
            file_name, demos = (f"{task}/{quality}/{kind}_v141.hdf5" for kind in ("low_dim", "demo"))
            entries.append(
                DatasetEntry(
                    dataset_id=f"robomimic/{task}-{quality}",
                    url=f"{_STANFORD}/{file_name}",
                    file_name=file_name,
                    env_id=f"robomimic/{task}",
                    reference_score=None,
                    constant_observations=False,
                    demonstrations_url=f"{_STANFORD}/{demos}",
                )
            )
    return entries


D4RL_DATASETS = MappingProxyType({entry.dataset_id: entry for entry in _entries()})
ROBOMIMIC_DATASETS = MappingProxyType({entry.dataset_id: entry for entry in _robomimic_entries()})

# Layouts known to end in dimensions that never change, wherever the file came from: a word of the file's name or of
# the recorded environment, O, and the first such dimension. Kitchen ends in its goal, ant in the contact forces that
# D4RL recorded as zeros; of Humanoid's inertias and forces after the joints, many belong to the world body.
# MetaWorld's observation has room for two objects and the goal, whatever the task has of them.
_CONSTANT_FROM = (("kitchen", 60, 30), ("ant", 111, 27), ("humanoid", 376, 45), ("metaworld", 39, 3))

# Returns of gymnasium's Ant-v4 are D4RL's: only the observation differs (84 zeros).
_SCORES = MappingProxyType(
    {name: e.reference_score for e in D4RL_DATASETS.values() if e.reference_score for name in (e.dataset_id, e.env_id)}
    | {"Ant-v4": _LOCOMOTION["ant"][1], "hopper-small": _LOCOMOTION["hopper"][1]}
)


def find_dataset(dataset_id: str) -> DatasetEntry:
    """Return the entry of an id of D4RL's, or of one such as robomimic/can-ph.

    Raises:
        InputError: unknown id, naming the nearest known ones.
    """
    try:
        return (D4RL_DATASETS | ROBOMIMIC_DATASETS)[dataset_id]
    except KeyError:
        known = [*SHIPPED, *D4RL_DATASETS, *ROBOMIMIC_DATASETS]
        near = similar(dataset_id, known)
        hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
        raise InputError(
            f"unknown dataset {quote(dataset_id)}: {hint}, or give minari:ID, lerobot:ORG/NAME or the path "
            "of an .hdf5, .npz or .parquet file or of a folder"
        ) from None


def env_id_of_file(file_name: str) -> str | None:
    """Return the environment of a file that bears the name of one of D4RL's files, else None."""
    matches = (e.env_id for e in D4RL_DATASETS.values() if e.file_name == file_name)
    return next(matches, None)


def first_constant_dimension(names: Iterable[str | None], observation_dim: int) -> int:
    """Return from which dimension on constant observations are known of a layout; O where of none.

    Args:
        names: of the file, the environment; None is passed over.
        observation_dim: O.
    """
    words = {word for name in names if name for word in re.findall("[a-z]+", name.lower())}
    for robot, dims, first in _CONSTANT_FROM:
        if dims == observation_dim and words & {robot, f"franka{robot}"}:
            return first
    return observation_dim


def reference_score(dataset_or_env_id: str) -> tuple[float, float] | None:
    """Return the (random, expert) returns of D4RL's score for a dataset or environment, or None."""
    return _SCORES.get(dataset_or_env_id)


def normalized_score(dataset_or_env_id: str, mean_return: float) -> float | None:
    """Return D4RL's normalised score in percent (0 random, 100 expert), or None."""
    reference = reference_score(dataset_or_env_id)
    if reference is None:
        return None
    low, high = reference
    return 100.0 * (mean_return - low) / (high - low)
