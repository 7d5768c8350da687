"""One Arrow schema for every dataset, whatever file format it came from.

A row is one environment step. An episode is a run of rows that ends where `terminal` (the
environment ended it) or `timeout` (it was cut, by a time limit or by the end of the recording) is
true, so a table describes its own episodes. Everything else about a dataset travels as JSON
in the metadata of the Arrow schema, under `METADATA_KEY`, in Parquet and in Arrow files alike.

Version 2 added cameras: a row then also holds the images of its V cameras as V * H * W * 3 bytes. Files of version 1
differ in nothing else and are read without cameras. Version 3 added to the JSON the hash of all that it says.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Annotated, Any, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.digest import json_digest
from rllib_scoreflow.files.json import parse_json
from rllib_scoreflow.interface import ImageShape, Interface, image_shape

SCHEMA_VERSION = 3
_WITHOUT_SHA256 = (1, 2)  # the earlier versions that are still read
_SHA256 = "sha256"
METADATA_KEY = b"rllib_scoreflow.dataset"
IMAGES_COLUMN = "images"

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageSource:
    """Images that a reader has found but not read, since there may be more of them than memory.

    Attributes:
        shape: (N, V, H, W, 3) of all of them.
        blocks: yields them in the order of the rows, as uint8 [n, V, H, W, 3] for some n at a time, N together;
            raises InputError where the source turns out to be damaged.
    """

    shape: tuple[int, int, int, int, int]
    blocks: Callable[[], Iterator[UInt8]]


@dataclass(frozen=True, eq=False)
class RawColumns:
    """What a reader returns: whole columns in memory (images aside), not yet validated.

    N steps, E episodes, O observation and A action dimensions. The last row always ends an episode.

    Attributes:
        observations: [N, O] float32, before the action of the same row.
        actions: [N, A] float32, in the environment's raw units.
        rewards: [N] float32.
        terminals: [N] bool, the environment ended the episode at this step.
        timeouts: [N] bool, the episode was cut after this step.
        final_observations: [E, O] float32, the observation after each episode's last step, or None
            where the source does not hold it.
        env_id: the environment the source itself names, or None.
        env_config: what that environment is to be made with, plain JSON values.
        observation_keys: the sources of the observation's dimensions, in their order; empty where the source is one
            array.
        cameras: names of the V cameras, in the order of the images' second axis.
        images: [N, V, H, W, 3] uint8, upright RGB, or None without cameras or before they are read.
        image_source: where the images are to be read from (see `rllib_scoreflow.data.images.with_images`), or None.
        action_dtype: how the source stores its actions, such as "float32".
        notes: what a user should know of how the source was read, a sentence each without its full stop.
        fps: steps per second, where the source says it.
        tasks: texts of the tasks that the episodes are of, where the source has such.
        episode_tasks: of each episode the position of its task in `tasks`; empty without tasks.
        provenance: of demonstrations that were generated, by what: package, version, task, seed, ...; else empty.
    """

    observations: Float32
    actions: Float32
    rewards: Float32
    terminals: Bool
    timeouts: Bool
    final_observations: Float32 | None = None
    env_id: str | None = None
    env_config: dict[str, Any] = field(default_factory=dict)
    observation_keys: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    images: UInt8 | None = None
    image_source: ImageSource | None = None
    action_dtype: str = "float32"
    notes: tuple[str, ...] = ()
    fps: float | None = None
    tasks: tuple[str, ...] = ()
    episode_tasks: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DatasetInfo:
    """What is known about a dataset without touching its rows.

    Attributes:
        name: the name it was asked for by: a dataset id, or the stem of the file.
        source: the file it was converted from (file name only), or a description of the origin.
        source_sha256: SHA-256 of that file, hexadecimal.
        content_sha256: SHA-256 of the columns themselves: the same data has the same value in every
            file format, and a subset of a source has another one.
        schema_version: `SCHEMA_VERSION` at the time of writing.
        env_id: environment it was recorded on, or None where unknown.
        observation_dim: O.
        action_dim: A.
        num_steps: N.
        num_episodes: E.
        observation_min: [O] float32, over all rows.
        observation_max: [O] float32.
        action_min: [A] float32.
        action_max: [A] float32.
        mean_return: mean over episodes of the undiscounted sum of rewards.
        observation_keys: names of the arrays that were concatenated into the observation, in order; empty where the
            source holds one flat array.
        cameras: names of the V cameras; empty: state only.
        image_size: (H, W) of every camera, or None without cameras.
        env_config: keyword arguments that the environment must be made with; plain JSON values.
        notes: what a user should know of how it was read, a sentence each without its full stop.
        fps: steps per second, where the source says it.
        tasks: texts of the tasks that the episodes are of, where the source has such.
        episode_tasks: of each episode the position of its task in `tasks`; empty without tasks.
        provenance: of demonstrations that were generated, by what: package, version, task, seed, ...; else empty.
    """

    name: str
    source: str
    source_sha256: str
    content_sha256: str
    schema_version: int
    env_id: str | None
    observation_dim: int
    action_dim: int
    num_steps: int
    num_episodes: int
    observation_min: Float32
    observation_max: Float32
    action_min: Float32
    action_max: Float32
    mean_return: float
    observation_keys: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    env_config: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fps: float | None = None
    tasks: tuple[str, ...] = ()
    episode_tasks: tuple[int, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def image_shape(self) -> ImageShape | None:
        """(V, H, W, 3), or None without cameras."""
        return image_shape(self.cameras, self.image_size)

    def interface(self) -> Interface:
        """Return what an environment for this dataset's policies has to fit; the bounds are the recorded actions'."""
        recorded = f" (recorded on {shorten(self.env_id)})" if self.env_id else ""
        return Interface(
            kind="dataset",
            name=f"dataset {self.name}{recorded}",
            observation_dim=self.observation_dim,
            action_dim=self.action_dim,
            action_low=self.action_min,
            action_high=self.action_max,
            image_shape=self.image_shape,
            cameras=self.cameras,
        )

    def to_json(self) -> str:
        """Return the fields and their hash as one JSON object; float32 values survive the round trip exactly."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        # What only some sources say is left out of the others, which earlier releases then read.
        content = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items() if k not in _LATER or v}
        content = json.loads(json.dumps(content))  # tuples as the lists that a reader sees
        return json.dumps({**content, _SHA256: json_digest(content)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "DatasetInfo":
        """Return the info that `to_json` wrote; one of an earlier schema version is brought up to this version.

        Raises:
            InputError: not JSON, a missing or unknown field, a value of another type, another schema version, or not
                what was written (its hash differs).
        """
        values = parse_json(text, "the dataset's metadata", remedy="convert the original file again")
        version = values.get("schema_version") if isinstance(values, dict) else None
        if type(version) is not int or version not in (*_WITHOUT_SHA256, SCHEMA_VERSION):
            raise InputError(
                f"the dataset's metadata has schema version {shorten(version)}, this release reads up to "
                f"{SCHEMA_VERSION}: convert the original file again"
            )
        recorded = values.pop(_SHA256, None)
        if (recorded is not None or version == SCHEMA_VERSION) and recorded != json_digest(values):
            raise InputError(
                "the dataset's metadata is not what was written (its sha256 differs: damaged or altered); convert the "
                "original file again"
            )
        try:
            checked = _stored_form().model_validate({**values, "schema_version": SCHEMA_VERSION})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"the dataset's metadata has a bad entry '{shorten(where)}' ({shorten(first['msg'])}); convert the "
                "original file again"
            ) from error
        fields: dict[str, Any] = dict(checked)
        return cls(**{**fields, **{name: np.array(fields[name], np.float32) for name in _BOUNDS}})


_LATER = ("fps", "tasks", "episode_tasks", "provenance")
_BOUNDS = ("observation_min", "observation_max", "action_min", "action_max")


@cache
def _stored_form() -> type[BaseModel]:
    """What the JSON of a `DatasetInfo` may hold; sizes are bounded, because a reader allocates by them."""
    count, size = Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1, le=1_000_000)]
    narrower: dict[str, Any] = {
        **dict.fromkeys(_BOUNDS, list[float]),
        **dict.fromkeys(("num_steps", "num_episodes"), count),
        **dict.fromkeys(("observation_dim", "action_dim"), size),
        "cameras": Annotated[tuple[str, ...], Field(max_length=64)],
        "image_size": tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]] | None,
    }
    types = get_type_hints(DatasetInfo)
    fields: dict[str, Any] = {}
    for each in dataclasses.fields(DatasetInfo):
        default: Any = ...
        if each.default is not dataclasses.MISSING:
            default = each.default
        elif each.default_factory is not dataclasses.MISSING:
            default = Field(default_factory=each.default_factory)
        fields[each.name] = (narrower.get(each.name, types[each.name]), default)
    return create_model("StoredDatasetInfo", __config__=ConfigDict(extra="forbid"), **fields)


def arrow_schema(observation_dim: int, action_dim: int, image_shape: ImageShape | None = None) -> pa.Schema:
    """Return the Arrow schema of a dataset with O and A dimensions (without metadata).

    `final_observation` is empty except in the last row of an episode, so that it costs E x O values
    and not N x O; it is empty everywhere where the source does not hold it. The last column, `images`, exists only
    with cameras (`image_shape` is (V, H, W, 3)): one value of V * H * W * 3 bytes per row. It is fixed-size binary
    and not a list of uint8, because a list's child column has a row per byte, of which Arrow writes at most 2^31 at
    once.
    """
    element = pa.field("element", pa.float32(), nullable=False)
    fields = [
        pa.field("observation", pa.list_(element, observation_dim), nullable=False),
        pa.field("action", pa.list_(element, action_dim), nullable=False),
        pa.field("reward", pa.float32(), nullable=False),
        pa.field("terminal", pa.bool_(), nullable=False),
        pa.field("timeout", pa.bool_(), nullable=False),
        pa.field("final_observation", pa.list_(element), nullable=False),
    ]
    if image_shape is not None:
        fields.append(pa.field(IMAGES_COLUMN, pa.binary(prod(image_shape)), nullable=False))
    return pa.schema(fields)


def episode_offsets(terminals: Bool, timeouts: Bool) -> Int64:
    """Return [E + 1] int64 row offsets: episode e holds rows offsets[e] to offsets[e + 1] - 1."""
    ends = np.flatnonzero(terminals | timeouts) + 1
    return np.concatenate([np.zeros(1, np.int64), ends.astype(np.int64)])


def content_sha256(columns: RawColumns) -> str:
    """Return the hexadecimal SHA-256 of shapes and values of all columns, images included."""
    digest = hashlib.sha256(repr((columns.observations.shape, columns.actions.shape)).encode())
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        digest.update(np.ascontiguousarray(getattr(columns, name)).data)
    if columns.final_observations is not None:
        digest.update(np.ascontiguousarray(columns.final_observations).data)
    if columns.images is not None:
        digest.update(repr((columns.cameras, columns.images.shape)).encode())
        digest.update(np.ascontiguousarray(columns.images).data)
    return digest.hexdigest()


def describe(columns: RawColumns, *, name: str, source: str, source_sha256: str, env_id: str | None) -> DatasetInfo:
    """Return the info of validated columns (at least one row); statistics are computed here."""
    offsets = episode_offsets(columns.terminals, columns.timeouts)
    returns = np.add.reduceat(columns.rewards.astype(np.float64), offsets[:-1])
    return DatasetInfo(
        name=name,
        source=source,
        source_sha256=source_sha256,
        content_sha256=content_sha256(columns),
        schema_version=SCHEMA_VERSION,
        env_id=env_id,
        observation_dim=columns.observations.shape[1],
        action_dim=columns.actions.shape[1],
        num_steps=columns.observations.shape[0],
        num_episodes=len(offsets) - 1,
        observation_min=columns.observations.min(axis=0),
        observation_max=columns.observations.max(axis=0),
        action_min=columns.actions.min(axis=0),
        action_max=columns.actions.max(axis=0),
        mean_return=float(returns.mean()),
        observation_keys=columns.observation_keys,
        cameras=columns.cameras,
        image_size=None if columns.images is None else (columns.images.shape[2], columns.images.shape[3]),
        env_config=columns.env_config,
        notes=columns.notes,
        fps=columns.fps,
        tasks=columns.tasks,
        episode_tasks=columns.episode_tasks,
        provenance=columns.provenance,
    )
