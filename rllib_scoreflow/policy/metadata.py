"""What a policy artefact says about itself, beside its weights."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rllib_scoreflow.artefact_files import POLICY_JSON
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import SDEConfig, VisionConfig

ARTEFACT_SCHEMA_VERSION = 1


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
        sde: Networks, score, noise and chain.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    observation_dim: int = Field(ge=1)
    action_dim: int = Field(ge=1)
    horizon: int = Field(default=4, ge=1)
    act_steps: int = Field(default=4, ge=1)
    cameras: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    vision: VisionConfig = VisionConfig()
    sde: SDEConfig = SDEConfig()

    @model_validator(mode="after")
    def _cameras_have_a_size(self) -> "PolicyConfig":
        if bool(self.cameras) != (self.image_size is not None):
            raise ValueError(f"cameras {list(self.cameras)} and image_size {self.image_size} must be given together")
        return self

    @property
    def image_shape(self) -> tuple[int, int, int, int] | None:
        """Shape `(V, H, W, 3)` of the images of one observation, None without cameras."""
        return None if self.image_size is None else (len(self.cameras), *self.image_size, 3)

    @property
    def chunk_dim(self) -> int:
        """Size `D = H * A` of a flattened chunk."""
        return self.horizon * self.action_dim


class PolicyMetadata(BaseModel):
    """Origin of a policy: where it acts, what it was trained on, with which versions.

    Attributes:
        variant: Name of the variant it was trained with (`flow` after pretraining).
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


class PolicyDescription(BaseModel):
    """Content of `policy.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = ARTEFACT_SCHEMA_VERSION
    weights_sha256: str
    config: PolicyConfig
    metadata: PolicyMetadata


def read_metadata(path: str | Path) -> PolicyDescription:
    """Reads and checks `policy.json` of the policy folder `path`; the weights are not touched.

    Raises:
        InputError: If the folder or file is missing, is not JSON, is of another schema version, or has other keys.
    """
    folder = Path(path)
    file = folder / POLICY_JSON
    if not file.is_file():
        raise InputError(
            f"'{folder}' is not a policy folder: it has no {POLICY_JSON}; "
            "give the `policy` folder that training exports."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{file}' cannot be read as JSON ({error}); export the policy again from its checkpoint."
        ) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != ARTEFACT_SCHEMA_VERSION:
        raise InputError(
            f"'{file}' has schema version {version!r}, this release reads {ARTEFACT_SCHEMA_VERSION}; "
            "export the policy again with this release."
        )
    try:
        return PolicyDescription.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"'{file}' has a bad entry '{where}' ({first['msg']}); export the policy again from its checkpoint."
        ) from error
