"""Weights & Biases and MLflow, through Ray's own callbacks: ``loggers: {mlflow: {tracking_uri: http://host:5000}}``.

What stands below a logger's name are the arguments of Ray's callback. Tune writes the callbacks into the run's folder,
so keys and passwords reach Weights & Biases and MLflow through the environment of this process instead.
"""

import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.suggest import hint

_CALLBACKS = {
    "wandb": ("ray.air.integrations.wandb", "WandbLoggerCallback"),
    "mlflow": ("ray.air.integrations.mlflow", "MLflowLoggerCallback"),
}


# Arguments of the callbacks that nobody else may read, and the variables in which the packages look for them.
_SECRETS: Mapping[str, Mapping[str, str]] = {
    "wandb": {"api_key": "WANDB_API_KEY"},
    "mlflow": {"tracking_token": "MLFLOW_TRACKING_TOKEN"},
}
_PASSWORD = re.compile(r"(?<=://)(?:[^\s@/]*:(?!\d{1,5}/)\S*@|[^\s@/]+@)")  # after a colon a port is none
_NAMED_SECRET = re.compile(
    r"""(?P<name>(?:key|token|password|passwd|secret)["']?(?:=|:\s*)["']?)[^\s,}&"']+""", re.IGNORECASE
)


@dataclass(frozen=True)
class LoggerOptions:
    """What the command line says; it counts before the file.

    Attributes:
        wandb_key: API key of Weights & Biases.
        mlflow_uri: tracking URI of MLflow: a server, or ``sqlite:///FILE``.
        wandb_project: project at Weights & Biases.
        wandb_run_name: name of the run there.
    """

    wandb_key: str | None = field(default=None, repr=False)
    mlflow_uri: str | None = field(default=None, repr=False)
    wandb_project: str | None = None
    wandb_run_name: str | None = None


def collect_loggers(experiment: Experiment, options: LoggerOptions) -> dict[str, dict[str, Any]]:
    """Return logger -> arguments of its callback, of an experiment's `loggers` and the command line.

    Args:
        experiment: the experiment.
        options: the command line's.
    """
    given = experiment.settings.get("loggers") or {}
    found = {name: dict(arguments or {}) for name, arguments in given.items()}
    for key, value in (
        ("api_key", options.wandb_key),
        ("project", options.wandb_project),
        ("name", options.wandb_run_name),
    ):
        if value is not None:
            found.setdefault("wandb", {})[key] = value
    if options.mlflow_uri is not None:
        found.setdefault("mlflow", {})["tracking_uri"] = options.mlflow_uri
    return found


def check_loggers(experiment: Experiment, options: LoggerOptions) -> None:
    """Check that an experiment's loggers exist, are installed and take their arguments.

    Args:
        experiment: the experiment.
        options: the command line's.

    Raises:
        InputError: naming the key or the option.
    """
    wandb = {
        "--wandb-key": options.wandb_key,
        "--wandb-project": options.wandb_project,
        "--wandb-run-name": options.wandb_run_name,
    }
    typed = {
        "wandb": next((option for option, value in wandb.items() if value is not None), None),
        "mlflow": options.mlflow_uri and "--mlflow-uri",
    }
    for name, arguments in collect_loggers(experiment, options).items():
        where = f"{experiment.where}: loggers.{name}"
        if name not in _CALLBACKS:
            raise InputError(f"{where} is unknown; {hint(name, _CALLBACKS, 'known are')}")
        if importlib.util.find_spec(name) is None:
            what = typed.get(name) or where
            raise InputError(f"{what} needs the package {name}, which is not installed; run `pip install {name}`.")
        _check_arguments(arguments, _callback(name), where)


def _check_arguments(arguments: Mapping[str, Any], callback: Any, where: str) -> None:
    known = inspect.signature(callback).parameters
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return  # wandb.init's too
    for key in arguments:
        if key not in known:
            raise InputError(f"{where} has no setting {quote(key)}; {hint(key, known)}")


def redact(word: str) -> str:
    """Return a word of a command line as it may be printed: without keys, tokens and the passwords of URIs.

    Args:
        word: such as ``--wandb-key=abc`` or ``https://user:password@host``.
    """
    word = _PASSWORD.sub("USER:PASSWORD@", word)
    return _NAMED_SECRET.sub(
        lambda found: found["name"] + ("KEY" if "key" in found["name"].lower() else "SECRET"), word
    )


def use_secrets(experiment: Experiment, options: LoggerOptions) -> dict[str, dict[str, Any]]:
    """Put keys and passwords into the environment of this process, where the loggers' packages look for them.

    Args:
        experiment: the experiment, checked.
        options: the command line's.

    Returns:
        As `wanted`, without them.
    """
    found = collect_loggers(experiment, options)
    for name, arguments in found.items():
        for key, variable in _SECRETS[name].items():
            secret = arguments.pop(key, None)
            if secret is not None:
                os.environ[variable] = str(secret)
        uri = arguments.get("tracking_uri")
        if name == "mlflow" and isinstance(uri, str) and _PASSWORD.search(uri):
            arguments.update(_without_password(uri))
    return found


def _without_password(uri: str) -> dict[str, str | None]:
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:  # a data base, whose address MLflow takes in one piece only
        os.environ["MLFLOW_TRACKING_URI"] = uri
        return {"tracking_uri": None}
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return {"tracking_uri": parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()}


def make_loggers(experiment: Experiment, options: LoggerOptions, file_name: str) -> list[Any]:
    """Return Ray's callbacks for an experiment; none of them holds a secret.

    Args:
        experiment: the experiment, checked.
        options: the command line's.
        file_name: stands for the project where none is given; the experiment is a group, or a tag, within it.
    """
    from rllib_scoreflow.runs.result_loggers import log_from_start

    usual: dict[str, dict[str, Any]] = {
        "wandb": {"project": file_name, "group": experiment.name},
        "mlflow": {"experiment_name": file_name, "tags": {"experiment": experiment.name}},
    }
    found = use_secrets(experiment, options)
    return [log_from_start(_callback(name))(**{**usual[name], **arguments}) for name, arguments in found.items()]


def _callback(name: str) -> Any:
    module, attribute = _CALLBACKS[name]
    return getattr(importlib.import_module(module), attribute)
