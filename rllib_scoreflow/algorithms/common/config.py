"""The base of both algorithms' configs: what a model of options says becomes attributes, `training()` and help."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided

from rllib_scoreflow.algorithms.common.env_option import check_env_option
from rllib_scoreflow.algorithms.common.option_text import list_options
from rllib_scoreflow.algorithms.common.options import AlgorithmOptions, check_options
from rllib_scoreflow.algorithms.common.rllib_option_check import check_rllib_options, refusal_of


class OptionsConfig(AlgorithmConfig):
    """An `AlgorithmConfig` whose options are those of a model.

    A subclass that names its own model of options gets their list into its docstring, and a typed `training()`; a
    user's config can do so too, with a model that extends `ScoreFlowOptions` or `FlowBCOptions`.

    Attributes:
        OPTIONS: The model.
    """

    OPTIONS: ClassVar[type[AlgorithmOptions]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Writes help and signature from the model."""
        super().__init_subclass__(**kwargs)
        if "OPTIONS" in vars(cls):
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{list_options(cls.OPTIONS)}\n"
            cls.training = _make_training(cls)

    def __init__(self, algo_class: type | None = None) -> None:
        """Sets the defaults."""
        super().__init__(algo_class=algo_class)
        self.framework_str = "torch"
        for name, value in self.OPTIONS.defaults().items():
            setattr(self, name, value)

    def check_single_options(
        self, defaults: AlgorithmConfig, classes: Mapping[str, type], derived: Mapping[str, Any] | None = None
    ) -> None:
        """Checks every option by itself, RLlib's too; what options say together is for the subclass.

        Args:
            defaults: A fresh config of this package's algorithm.
            classes: RLlib's options that name a class, and the class that another one has to extend.
            derived: What `validate()` has set itself; None or nothing: not known.

        Raises:
            InputError: On the first one that is wrong or would have no effect.
        """
        check_options(self, self.OPTIONS)
        # A checkpoint of an earlier version holds what validate() had set, and no note of it.
        earlier = vars(self) if "class" in vars(self) else {}
        check_rllib_options(self, defaults, classes=classes, derived=derived or earlier)
        check_env_option(self.env)


def _make_training(cls: type[OptionsConfig]) -> Callable[..., OptionsConfig]:
    """The method `training` of a config, with the options of its model and those of RLlib that have an effect."""

    def training(self: OptionsConfig, **options: Any) -> OptionsConfig:
        own = {name: options.pop(name) for name in list(options) if name in cls.OPTIONS.model_fields}
        super(cls, self).training(**options)
        for name, value in own.items():
            if value is not NotProvided:
                setattr(self, name, value)
        return self

    types, defaults = cls.OPTIONS.types(), cls.OPTIONS.defaults()
    parameters = [_keyword(name, defaults[name], types[name]) for name in types]
    parameters += [
        parameter
        for name, parameter in inspect.signature(AlgorithmConfig.training).parameters.items()
        if name not in types and parameter.default is NotProvided and refusal_of(cls.OPTIONS.ALGORITHM, name) is None
    ]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    training.__signature__ = inspect.Signature([itself, *parameters], return_annotation=cls)  # type: ignore[attr-defined]
    training.__qualname__, training.__module__ = f"{cls.__qualname__}.training", cls.__module__
    training.__doc__ = (
        f"Sets options of {cls.OPTIONS.ALGORITHM}; those that are not given stay as they are.\n\n"
        f"The shown defaults are those of a fresh config; `help({cls.__name__})` describes every option."
    )
    return training


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
