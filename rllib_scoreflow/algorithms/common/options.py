"""The options of an algorithm: a model that holds default, type, bound and description of each, and their checks."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rllib_scoreflow.envs.settings import MAX_EPISODE_STEPS, SUCCESS_RULE
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.flow.precision import Precision
from rllib_scoreflow.suggest import hint

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
# Of which an infinite one is none.
Limit = Annotated[float, Field(gt=0.0, allow_inf_nan=True)]


class AlgorithmOptions(BaseModel):
    """Options of both algorithms: this package's, and RLlib's with another default or with a closer check here.

    A config has an attribute for each; `rllib train`, the docstring of the config, its `training()` and the reference
    page read the same model. The text below an option is its description.

    Attributes:
        ALGORITHM: Name of the algorithm.
    """

    # Numbers are not parsed from strings.
    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, use_attribute_docstrings=True)

    ALGORITHM: ClassVar[str]

    plugins: list[str] = Field(default_factory=list)
    """Modules of your own that register velocity fields, denoising processes, objectives, advantage estimators, dataset
    readers or environments; every process imports them."""
    env_backend: Literal["auto", "envpool", "gymnasium"] = "auto"
    """Vector environment of rollouts and evaluations."""
    evaluation_interval: Count | None = None
    """Iterations from one evaluation to the next; null: none."""
    evaluation_duration: Positive = 20
    """Episodes of an evaluation."""
    grad_clip: Limit | None = None
    """Bound of the gradients; null: none."""
    grad_clip_by: Literal["network", "global_norm", "norm", "value"] = "network"
    """What `grad_clip` bounds: the norm of every network's gradient, or as RLlib the norm of all, the norm of every
    tensor, or every number."""
    precision: Precision = "float32"
    """Of the networks' passes in cloning and in the update; weights, optimisers, log-probabilities and losses are
    float32 anyway. `bfloat16` takes about half of the time on GPUs and CPUs that have it (AVX512-BF16, AMX), and is
    slower on others."""
    num_learners: Count = 0
    """Learner processes; 0: one within the main process."""

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Default of every option."""
        return cls().model_dump()

    @classmethod
    def types(cls) -> dict[str, Any]:
        """Type of every option, without its bound."""
        hints = get_type_hints(cls)
        return {name: hints[name] for name in cls.model_fields}

    @classmethod
    def find_problem(cls, name: str, value: Any) -> Mapping[str, Any] | None:
        """What pydantic has to say against a value of one option; None where it is good."""
        try:
            cls.model_validate({name: value})
        except ValidationError as error:
            return next((problem for problem in error.errors() if problem["loc"][0] == name), None)
        return None


def check_options(config: Any, options: type[AlgorithmOptions]) -> None:
    """Checks the options of a config.

    Args:
        config: Any object with the options as attributes.
        options: The model of what they may be.

    Raises:
        InputError: Naming the first bad option, its value and what is expected.
    """
    try:
        options.model_validate({name: getattr(config, name) for name in options.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        name, reason = first["loc"][0], first["msg"]
        raise InputError(
            f"Option '{name}' of {type(config).__name__} is {quote(getattr(config, str(name)))}: "
            f"{reason[0].lower()}{reason[1:]}."
        ) from error


def build_section(name: str, section: type[BaseModel], values: dict[str, Any]) -> Any:
    """Builds a section such as `score:` or `noise:` from its YAML mapping.

    Raises:
        InputError: Naming the key (with the nearest valid one) or the bad value.
    """
    try:
        return section(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([name, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            known = [f"{name}.{field}" for field in section.model_fields]
            raise InputError(f"Unknown key '{shorten(key)}'; {hint(key, known)}") from error
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"Option '{key}' is {quote(first['input'])}: {reason[0].lower()}{reason[1:]}.") from error


def overlay_env_config(recorded: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Returns what an environment is made with: `env_config` laid over what was recorded, and over both the options.

    The options `max_episode_steps` and `success` stand in `env_config` from then on, so that they reach every
    environment of the run and are exported with the policy.

    Args:
        recorded: `env_config` of the dataset or policy that names the same environment.
        config: An algorithm's config with `env_config` and the two options, None where they are not given.
    """
    options = {key: getattr(config, key) for key in (MAX_EPISODE_STEPS, SUCCESS_RULE)}
    return {**recorded, **config.env_config, **{key: value for key, value in options.items() if value is not None}}
