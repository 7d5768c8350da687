"""experiment.json and done.json: their form, which readers rely on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.json_files import read_json

_REMEDY = "copy the file again, or train again with --overwrite"


class StageFile(BaseModel):
    """What of the two files is used, by its type; every entry may be missing, and there may be others."""

    model_config = ConfigDict(strict=True, extra="allow")

    experiment: str | None = None
    fingerprint: str | None = None
    run: str | None = None
    env: str | None = None
    stop: dict[str, float] | None = None
    config: dict[str, Any] | None = None
    swept: list[str] | None = None
    scheduler: str | None = None
    metric: str | None = None
    mode: Literal["max", "min"] | None = None
    pretrained_policy: str | None = None
    versions: dict[str, str] | None = None
    checkpoint: str | None = None
    policy: str | None = None
    plot: str | None = None
    sweep: str | None = None
    figures: dict[str, float] | None = None
    dataset_sha256: str | None = None


def read_stage_file(path: Path) -> dict[str, Any] | None:
    """Return the content of an experiment.json or done.json, None where there is no such file.

    Raises:
        InputError: it is damaged; naming the entry.
    """
    if not path.is_file():
        return None
    content = read_json(path, remedy=_REMEDY)
    try:
        StageFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        entry = f"a bad entry '{shorten(where)}'" if where else "another form than an experiment's"
        raise InputError(f"{path} has {entry} ({shorten(first['msg'])}); {_REMEDY}.") from None
    assert isinstance(content, dict)
    return content
