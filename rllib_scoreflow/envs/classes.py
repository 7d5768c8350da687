"""Environments that a text names by their code: a class's dotted path, ``module:Name``, or ``path/to/file.py:Name``.

`Name` is a class, a function that makes an environment, an id that importing the module registers with gymnasium, or a
name that it gives to Ray's `register_env`. Ids of gymnasium alone are no business of this module.
"""

import copy
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym

from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.plugins import extend_module_path, module_folders
from rllib_scoreflow.suggest import similar

# What RLlib's environments call the mapping that they are made with.
_CONFIG_NAMES = ("config", "cfg", "ctx", "context", "_")
_LOADED = "rllib_scoreflow_file_"

Creator = Callable[[Any], Any]
_LOOKUPS: list[Callable[[str], Creator | None]] = []


def add_lookup(find: Callable[[str], Creator | None]) -> None:
    """Let names be found that another package keeps, as Ray does those of its `register_env`.

    Args:
        find: what makes the environment of a name, of its config in one piece; None for an unknown name.
    """
    if find not in _LOOKUPS:
        _LOOKUPS.append(find)


@dataclass(frozen=True)
class NamedCode:
    """What stands behind a text.

    Attributes:
        text: as the user wrote it.
        module: the imported module.
        name: what follows the colon, or the last dot.
        found: the class or function, None where `name` is an id of gymnasium or a name registered with Ray.
    """

    text: str
    module: ModuleType
    name: str
    found: Callable[..., Any] | None


def names_code(text: str) -> bool:
    """Whether a text has one of the forms above, so that making its environment runs code from elsewhere.

    Args:
        text: of an environment.
    """
    if ":" in text:
        return True
    place, _, name = text.rpartition(".")
    return bool(place) and name.isidentifier() and all(part.isidentifier() for part in place.split("."))


def find_code(text: str) -> NamedCode | None:
    """Import what a text names.

    Args:
        text: see above.

    Returns:
        None where the text has none of these forms: it is an id, or its module does not exist.

    Raises:
        InputError: the module or file cannot be found or fails, or has no such name.
    """
    if not names_code(text):
        return None
    place, colon, name = text.rpartition(":" if ":" in text else ".")
    colon = colon if colon == ":" else ""
    module = _load_file(place, text) if place.endswith(".py") else import_env_module(place, text)
    found = getattr(module, name, None) if name.isidentifier() else None
    if callable(found) and not isinstance(found, ModuleType):
        return NamedCode(text, module, name, found)
    if colon and (name in gym.registry or _look_up(name) is not None):
        return NamedCode(text, module, name, None)
    raise InputError(f"environment {quote(text)}: {_missing(module, name, place)}")


def make_env(text: str, config: Mapping[str, Any]) -> Any:
    """Make the environment that a text names.

    Args:
        text: see above.
        config: `env_config`; RLlib's EnvContext, which is one, is handed to a class that wants one.

    Raises:
        InputError: see `find_code`.
    """
    code = find_code(text)
    if code is None:
        raise InputError(f"environment {quote(text)} names no class and no module")
    return make_code(code, config)


def make_code(code: NamedCode, config: Mapping[str, Any]) -> Any:
    """Make an environment; see `make_env`."""
    if code.found is not None:
        return call_with(code.found, config)
    creator = _look_up(code.name)
    return gym.make(code.name, **config) if creator is None else creator(config)


def call_with(make: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """Call a class or function as RLlib does, with `config` in one piece, or as gymnasium does, with its parts.

    Args:
        make: one whose first argument is called `config`, or has no default, is given the mapping; any other one is
            given its parts by their names. So is one whose first argument is the mapping's only key, as old
            files have it, for Ray gave a class named by its path all by name: ``env_config: {config: {size: 4}}``.
        config: `env_config`.
    """
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # something built in
        return make(config)
    first = parameters[0] if parameters else None
    if first is None:
        return make(**config)  # says itself what it cannot take
    if first.kind in (first.POSITIONAL_ONLY, first.VAR_POSITIONAL):
        return make(config)
    config = copy.copy(config)  # that of several environments of one EnvRunner, and some take things out of it
    if len(config) == 1 and isinstance(config.get(first.name), Mapping):
        return make(**{first.name: copy.copy(config[first.name])})
    named = any(first.name == name or first.name.endswith(f"_{name}") for name in _CONFIG_NAMES)
    required = first.default is first.empty and first.kind is first.POSITIONAL_OR_KEYWORD
    if named or (required and first.name not in config):
        return make(config)
    return make(**config)


def import_env_module(module: str, env_id: str) -> ModuleType:
    """Import the module that registers or holds an environment.

    Raises:
        InputError: it cannot be found, or raises an exception, or ends the process, which would end in silence.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # A part of Ray that is not there was taken out of it, which no installation brings back.
        gone = module.startswith("ray.") and str(getattr(error, "name", None)).startswith("ray.")
        remedy = "it is not in this version of Ray; write the environment yourself, or take another"
        raise InputError(
            f"environment {env_id!r}: module {module!r} cannot be imported ({shorten(str(error))}): "
            f"{remedy if gone else 'install it or put its folder on PYTHONPATH'}"
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"environment {env_id!r}: module {module!r} raised {reason_of(error)} when it was imported; correct it"
        ) from error


def find_file(place: str) -> Path | None:
    """Return the Python file that a path names, seen from the working folder or from beside the experiment file.

    Args:
        place: the path.
    """
    path = Path(place).expanduser()
    places = [folder / path for folder in (*map(Path, module_folders()), Path())]
    return next((each.resolve() for each in places if each.is_file()), None)


def _load_file(place: str, text: str) -> ModuleType:
    path = find_file(place)
    if path is None:
        raise InputError(
            f"environment {quote(text)}: there is no file {quote(place)} in the working folder or beside the "
            "experiment file; correct the path"
        )
    try:
        return _execute(path)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"environment {quote(text)}: {path} raised {reason_of(error)} when it was run; correct it"
        ) from error


@functools.cache
def _execute(path: Path) -> ModuleType:
    """The module of a file, run once per process; it is not what `import` of its name finds."""
    unique = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{_LOADED}{path.stem}_{unique}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up
    extend_module_path([path.parent])  # what lies beside it can be imported, as with `python FILE`
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit):
        del sys.modules[spec.name]
        raise
    return module


def _look_up(name: str) -> Creator | None:
    return next((creator for find in _LOOKUPS if (creator := find(name)) is not None), None)


def _missing(module: ModuleType, name: str, place: str) -> str:
    classes = [key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_")]
    near = similar(name, {*classes, *gym.registry})
    hint = f"did you mean {near[0]}?" if near else "name a class, or an id that importing it registers"
    return f"{place} has no class and registers no environment {quote(name)}; {hint}"
