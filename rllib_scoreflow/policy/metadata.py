"""What a policy artefact says about itself, beside its weights."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.files.digest import json_digest
from rllib_scoreflow.files.json import read_json
from rllib_scoreflow.files.policy_folder import POLICY_JSON, has_own_hash
from rllib_scoreflow.flow.config import STORED, VARIANTS, SDEConfig, VisionConfig
from rllib_scoreflow.flow.processes import PROCESSES
from rllib_scoreflow.interface import ImageShape, check_act_steps, image_shape

ARTEFACT_SCHEMA_VERSION = 2
_WITHOUT_SHA256 = 1  # the earlier version, still read, in which only the weights were under a hash
_MAX_DIM = 1_000_000
_AGAIN = "copy the policy folder again, or export it again from its checkpoint"


class PolicyConfig(BaseModel):
    """Shapes and architecture of a policy.

    Attributes:
        observation_dim: `O`, of the state vector.
        action_dim: `A`.
        cameras: Names of the `V` cameras; none: the policy sees the state alone.
        image_size: Height and width of the camera images; None without cameras.
        vision: Architecture of the image encoder; without effect where there are no cameras.
        horizon: Steps `H` of a predicted chunk.
        act_steps: Steps of a chunk that are executed before the next one is predicted.
        sde: Velocity, denoising process, score, noise and chain.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    observation_dim: int = Field(ge=1, le=_MAX_DIM)
    action_dim: int = Field(ge=1, le=_MAX_DIM)
    horizon: int = Field(default=4, ge=1, le=_MAX_DIM)
    act_steps: int = Field(default=4, ge=1)
    cameras: tuple[str, ...] = Field(default=(), max_length=64)
    image_size: tuple[int, int] | None = None
    vision: VisionConfig = VisionConfig()
    sde: SDEConfig = SDEConfig()

    @model_validator(mode="after")
    def _cameras_have_a_size(self) -> "PolicyConfig":
        if bool(self.cameras) != (self.image_size is not None):
            raise ValueError(f"cameras {list(self.cameras)} and image_size {self.image_size} must be given together")
        return self

    @model_validator(mode="after")
    def _executes_no_more_than_it_predicts(self) -> "PolicyConfig":
        check_act_steps(self.act_steps, self.horizon)
        return self

    @property
    def image_shape(self) -> ImageShape | None:
        """Shape `(V, H, W, 3)` of the images of one observation, None without cameras."""
        return image_shape(self.cameras, self.image_size)

    @property
    def chunk_dim(self) -> int:
        """Size `D = H * A` of a flattened chunk."""
        return self.horizon * self.action_dim


class PolicyMetadata(BaseModel):
    """Origin of a policy: where it acts, what it was trained on, with which versions.

    Attributes:
        variant: Name of the variant it was trained with (`flow` after pretraining), or of a user's own process.
        env_id: Environment or D4RL dataset id.
        dataset: Name of the dataset; the normaliser's statistics are from it.
        dataset_sha256: Hash of the dataset's content (its converted columns).
        env_steps: Environment steps of fine-tuning so far.
        versions: Versions of this package, torch and Ray.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: str = "flow"
    env_id: str | None = None
    env_config: dict[str, Any] = {}
    dataset: str | None = None
    dataset_sha256: str | None = None
    env_steps: int = 0
    versions: dict[str, str] = {}

    @property
    def fine_tuned(self) -> bool:
        """Whether it was fine-tuned; FPO does so to a plain flow."""
        return self.variant != "flow" or self.env_steps > 0

    @field_validator("variant")
    @classmethod
    def _is_a_variant(cls, variant: str) -> str:
        if variant not in VARIANTS and variant not in PROCESSES:
            raise ValueError(f"it is one of {', '.join(VARIANTS)}")
        return variant


class PolicyDescription(BaseModel):
    """Content of `policy.json`.

    Attributes:
        schema_version: Of the file's form.
        weights_sha256: SHA-256 of `policy.safetensors`.
        config: Shapes and architecture.
        metadata: Origin.
        sha256: Hash of all other entries (`json_digest`), so of everything in the artefact; None in schema version 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = ARTEFACT_SCHEMA_VERSION
    weights_sha256: str
    config: PolicyConfig
    metadata: PolicyMetadata
    sha256: str | None = None

    def to_json(self) -> str:
        """The text of `policy.json`, with the hash of what it says."""
        content = json.loads(self.model_dump_json(exclude={"sha256"}))
        return json.dumps({**content, "sha256": json_digest(content)}, indent=2) + "\n"


def read_metadata(path: str | Path) -> PolicyDescription:
    """Reads and checks `policy.json` of the policy folder `path`; the weights are not touched.

    Raises:
        InputError: If the folder or file is missing, is not JSON, is of another schema version, has other keys or
            values, or is not what was written (its hash differs).
    """
    folder = Path(path)
    file = folder / POLICY_JSON
    if not file.is_file():
        raise InputError(
            f"'{folder}' is not a policy folder: it has no {POLICY_JSON}; "
            "give the `policy` folder that training exports."
        )
    content = read_json(file, finite=True, remedy=_AGAIN)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if type(version) is not int or version not in (_WITHOUT_SHA256, ARTEFACT_SCHEMA_VERSION):
        raise InputError(
            f"'{file}' has schema version {shorten(version)}, this release reads {_WITHOUT_SHA256} and "
            f"{ARTEFACT_SCHEMA_VERSION}; export the policy again with this release."
        )
    if not has_own_hash(content):
        raise InputError(f"'{file}' is not what was written (its sha256 differs: damaged or altered); {_AGAIN}.")
    try:
        return PolicyDescription.model_validate(content, context=STORED)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"'{file}' has a bad entry '{shorten(where)}' ({shorten(first['msg'])}); {_AGAIN}.") from error
