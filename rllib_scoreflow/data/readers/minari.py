"""Reader of Minari's datasets, local ones and those of its hub.

The observation is what gymnasium's `flatten_space` makes of the dataset's observation space: the arrays of a Dict (of
Dicts) one after another in the order of the space, named by their keys with "/" between. `observation_keys` chooses
among them; the name of an inner Dict stands for all that it holds.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.options import ReadOptions
from rllib_scoreflow.data.progress import Bar
from rllib_scoreflow.data.readers.base import READERS, Reader
from rllib_scoreflow.data.readers.hdf5 import open_hdf5
from rllib_scoreflow.data.schema import Float32, RawColumns
from rllib_scoreflow.data.validation import check_lengths, first_sentence
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.json import parse_json, read_json

PREFIX = "minari:"
_METADATA, _HDF5_NAME = "metadata.json", "main_data.hdf5"
_REMEDY = "choose a dataset (or observation_keys) of Box spaces without images"


@READERS.register("minari")
class MinariReader(Reader):
    """The folder of a dataset of Minari's, or its data folder."""

    what = "a Minari dataset"
    prefix = PREFIX
    options = frozenset({"observation_keys"})

    def claims(self, path: Path) -> bool:
        """Whether it is a folder with Minari's description, or the one that holds it."""
        return _data_of(path) is not None

    def locate(self, dataset: str) -> Path:
        """See `locate_minari`."""
        return locate_minari(dataset)

    def files(self, path: Path) -> list[Path]:
        """All files of the folder."""
        return sorted(each for each in path.rglob("*") if each.is_file())

    def name(self, path: Path) -> str:
        """The folder's name, or that of the one which holds Minari's `data`."""
        return path.parent.name if path.name == "data" else path.name

    def read(self, path: Path, options: ReadOptions) -> RawColumns:
        """See `read_minari`."""
        return read_minari(_data_of(path) or path, options)


def _data_of(path: Path) -> Path | None:
    """The folder with Minari's description: the path, or its `data`; None where there is neither."""
    return next((folder for folder in (path, path / "data") if (folder / _METADATA).is_file()), None)


def locate_minari(dataset_id: str) -> Path:
    """Return the data folder of a dataset, downloading it first unless it is there.

    Args:
        dataset_id: Minari's id, such as "D4RL/door/human-v2"; looked for in $MINARI_DATASETS_PATH, else in
            ~/.minari/datasets.

    Raises:
        InputError: minari is not installed, the id is malformed, or the download fails.
    """
    minari = _import_minari()
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise InputError(f"{PREFIX}{dataset_id}: not an id of Minari's; write it as namespace/name-v0") from None
    folder = Path(get_dataset_path(dataset_id)) / "data"
    if not folder.is_dir():
        try:
            minari.download_dataset(dataset_id)
        # Whatever the hub's client raises, the remedy is the same.
        except Exception as error:
            raise InputError(
                f"cannot download the Minari dataset {dataset_id} ({first_sentence(error)}); or place it by hand as "
                f"{folder}, or set MINARI_DATASETS_PATH to the folder that holds it"
            ) from error
    return folder


def read_minari(folder: Path, options: ReadOptions) -> RawColumns:
    """Read a dataset's data folder.

    Args:
        folder: it holds the dataset's `metadata.json` and data.
        options: `observation_keys`, see above.

    Returns:
        columns of N steps with final_observations [E, O]; `env_id` and `env_config` from the recorded environment: its
        arguments, and where it was recorded with others than the registered ones its `max_episode_steps`, and its
        `additional_wrappers`.

    Raises:
        InputError: minari is not installed, the folder cannot be read, spaces that cannot be flattened, an unknown
            key, or episodes whose arrays do not fit together.
    """
    minari = _import_minari()
    try:
        _check_folder(folder)
    except InputError as error:
        raise InputError(f"not a readable Minari dataset: {error}") from error
    try:
        dataset = minari.MinariDataset(folder)
        episodes = dataset.iterate_episodes()
        keys = _choose_keys(folder, dataset.observation_space, options.observation_keys)
        _leaves(folder, "actions", dataset.action_space)
        parts = []
        with Bar("reading episodes", len(dataset)) as bar:
            for episode in episodes:
                parts.append(_read_episode(folder, episode, keys))
                bar.advance()
    except InputError:
        raise
    # What a damaged set makes Minari and the libraries below it raise is not told anywhere.
    except Exception as error:
        reason = shorten(first_sentence(error), 120)
        raise InputError(f"{folder}: not a readable Minari dataset ({reason}); fetch it again") from error
    if not parts:
        raise InputError(f"{folder}: the dataset holds no episodes; choose another one")
    ends = np.cumsum([len(part["rewards"]) for part in parts]) - 1
    terminals = np.zeros(ends[-1] + 1, np.bool_)
    terminals[ends] = [part["terminated"] for part in parts]
    widths = {(part["observations"].shape[1], part["actions"].shape[1]) for part in parts}
    if len(widths) > 1:
        raise InputError(f"{folder}: episodes of different dimensions {shorten(sorted(widths))}; fetch it again")
    timeouts = np.zeros(ends[-1] + 1, np.bool_)
    timeouts[ends] = ~terminals[ends]
    spec = dataset.spec.env_spec
    return RawColumns(
        observations=np.concatenate([part["observations"][:-1] for part in parts]),
        actions=np.concatenate([part["actions"] for part in parts]),
        rewards=np.concatenate([part["rewards"] for part in parts]),
        terminals=terminals,
        timeouts=timeouts,
        final_observations=np.stack([part["observations"][-1] for part in parts]),
        env_id=None if spec is None else str(spec.id),
        env_config={} if spec is None else _env_config(spec),
        observation_keys=tuple(key for key in keys if key),
        action_dtype=parts[0]["action_dtype"],
    )


def _check_folder(folder: Path) -> None:
    """Refuse what Minari would believe: sizes that are not there, a missing space (it would import the environment).

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    path = folder / _METADATA
    metadata = read_json(path)
    spaces = ("observation_space", "action_space")
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(key), str) for key in spaces):
        raise InputError(f"{path}: holds no {' and '.join(spaces)}, each a text; fetch the dataset again")
    for key in spaces:
        parse_json(metadata[key], f"{path}: key '{key}'")
    main = folder / _HDF5_NAME
    if metadata.get("data_format") == "hdf5":
        with open_hdf5(main) as file:
            held = sum(name.startswith("episode_") for name in file.names())
            file.check_all_storage()
    else:
        held = sum(each.is_dir() for each in folder.iterdir())
    for key, most in (("total_episodes", held), ("total_steps", 2**48)):
        value = metadata.get(key)
        if not isinstance(value, int) or not 0 <= value <= most:
            raise InputError(
                f"{path}: '{key}' is {shorten(repr(value))}, the folder holds {held} episodes; fetch the dataset again"
            )


def _env_config(spec: Any) -> dict[str, Any]:
    """Return what the recording environment was made with beyond its registration, as plain JSON values."""
    import gymnasium

    config = {key: value for key, value in (spec.kwargs or {}).items() if key != "render_mode"}
    registered = gymnasium.registry.get(spec.id)
    known = None if registered is None else registered.max_episode_steps
    if spec.max_episode_steps is not None and spec.max_episode_steps != known:
        config["max_episode_steps"] = spec.max_episode_steps
    if spec.additional_wrappers:
        config["additional_wrappers"] = [dataclasses.asdict(each) for each in spec.additional_wrappers]
    return config


def _import_minari() -> Any:
    # Importing Minari makes its folder of datasets; its hub is not asked for anything yet.
    try:
        import minari
    except ImportError as error:
        raise InputError("Minari's datasets need minari: pip install 'rllib-scoreflow[minari]'") from error
    return minari


def _leaves(folder: Path, what: str, space: Any, name: str = "") -> list[str]:
    """Return the names of a space's arrays in flattening order; the only array of a Box has the name ""."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict) and what != "actions":
        inner = ((f"{name}/{key}" if name else key, each) for key, each in space.spaces.items())
        return [leaf for each_name, each in inner for leaf in _leaves(folder, what, each, each_name)]
    is_image = isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1
    if not isinstance(space, spaces.Box) or is_image:
        where = f" '{name}'" if name else ""
        raise InputError(f"{folder}: the {what}{where} are of the space {space}; {_REMEDY}")
    return [name]


def _choose_keys(folder: Path, space: Any, chosen: tuple[str, ...] | None) -> list[str]:
    from gymnasium import spaces

    if chosen is None:
        return _leaves(folder, "observations", space)
    if not isinstance(space, spaces.Dict):
        raise InputError(f"{folder}: the observation is one array, so there are no observation_keys to choose from")
    keys = []
    for key in chosen:
        part: Any = space
        for word in key.split("/"):
            part = part.spaces.get(word) if isinstance(part, spaces.Dict) else None
        if part is None:
            raise InputError(
                f"{folder}: observation key '{key}' is missing, the dataset holds {list(space.spaces)}; choose "
                "other observation_keys"
            )
        keys += _leaves(folder, "observations", part, key)
    return keys


def _read_episode(folder: Path, episode: Any, keys: list[str]) -> dict[str, Any]:
    """Return observations [T + 1, O], actions [T, A], rewards [T] of an episode, and whether it terminated."""
    steps = len(episode.rewards)
    columns = []
    for key in keys:
        values = episode.observations
        for word in key.split("/") if key else ():
            values = values[word]
        columns.append(_flat(values))
    if steps == 0:
        raise InputError(f"{folder}: episode {episode.id} holds no steps; remove it from the dataset")
    for key in ("rewards", "terminations", "truncations"):
        shape = np.shape(getattr(episode, key))
        if len(shape) != 1:
            raise InputError(
                f"{folder}: the {key} of episode {episode.id} have shape {shorten(list(shape))}; write one per step"
            )
    actions = _flat(episode.actions)
    flags = {key: len(getattr(episode, key)) for key in ("terminations", "truncations")}
    lengths = {f"observations {key}".strip(): len(c) - 1 for key, c in zip(keys, columns, strict=True)}
    check_lengths(folder, {f"episode {episode.id} rewards": steps, "actions": len(actions), **flags, **lengths})
    return {
        "observations": np.concatenate(columns, axis=1),
        "actions": actions,
        "action_dtype": str(np.asarray(episode.actions).dtype),
        "rewards": _flat(episode.rewards)[:, 0],
        "terminated": bool(episode.terminations[-1]),
    }


def _flat(values: NDArray[Any]) -> Float32:
    values = np.asarray(values)
    # float64 beyond float32's range becomes infinite here and is refused by the validation.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.reshape(len(values), -1).astype(np.float32)
