"""robosuite behind a few functions: made from a Robomimic file's `env_args`, quiet, seeded and upright."""

import copy
import importlib
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.robosuite.camera import Camera
from rllib_scoreflow.errors import InputError, shorten

_VERSION = "1.4"
_INSTALL = "pip install 'rllib-scoreflow[robomimic]'"
# Robomimic's name of the concatenation of everything that concerns objects, and robosuite's.
_OBJECT, _OBJECT_STATE = "object", "object-state"


class ModelError(InputError):
    """A recorded model that cannot be loaded."""


def load_robosuite() -> Any:
    """Return the module robosuite.

    Raises:
        InputError: it is missing, of another version than 1.4, or cannot be imported.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)  # It says three times that a file of private macros is missing.
    try:
        robosuite: Any = importlib.import_module("robosuite")
    except ModuleNotFoundError as error:
        raise InputError(f"Robomimic's tasks need robosuite {_VERSION} ({error}): {_INSTALL}") from None
    # It loads EGL when it is imported, which fails in ways of its own.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"robosuite cannot be imported here ({reason}): on Linux apt-get install -y libegl1 libgl1-mesa-dri"
        ) from error
    finally:
        logging.disable(previous)
    if not robosuite.__version__.startswith(f"{_VERSION}."):
        raise InputError(
            f"robosuite {robosuite.__version__} is installed, which observes other things than the {_VERSION} that "
            f"Robomimic's files were recorded with: {_INSTALL}"
        )
    return robosuite


class RandomStream:
    """The state of the random generators from which robosuite draws: those of the process.

    Args:
        seed: 32 bit.
    """

    def __init__(self, seed: int) -> None:
        self._numpy: Any = np.random.RandomState(seed).get_state()
        self._python = random.Random(seed).getstate()

    @contextmanager
    def draw_from(self) -> Iterator[None]:
        """Put the state in place of the process's, and take it back with what was drawn."""
        outside = np.random.get_state(), random.getstate()  # noqa: NPY002
        np.random.set_state(self._numpy)  # noqa: NPY002
        random.setstate(self._python)
        try:
            yield
        finally:
            self._numpy, self._python = np.random.get_state(), random.getstate()  # noqa: NPY002
            np.random.set_state(outside[0])  # noqa: NPY002
            random.setstate(outside[1])


class RobosuiteSim:
    """One robosuite environment with a model, drawn from its own random stream.

    Some models are drawn too (the size of Lift's cube, the hammer of Transport): they change only with a new
    RobosuiteSim, since loading a model takes a hundred times as long as resetting it.

    Args:
        env_args: `data.attrs["env_args"]` of a Robomimic file.
        seed: 32 bit, of the model and of all resets.
        reflections: see Camera.

    Raises:
        InputError: robosuite is missing or refuses the arguments.
    """

    def __init__(self, env_args: Mapping[str, Any], seed: int, *, reflections: bool = False) -> None:
        robosuite = load_robosuite()
        self._stream = RandomStream(seed)
        self._reflections = reflections
        self._camera: Camera | None = None
        env_name, env_kwargs = _check_arguments(env_args)
        with self._stream.draw_from():
            try:
                self._env: Any = robosuite.make(env_name, **env_kwargs)
            # robosuite raises bare Exceptions and whatever its constructors run into.
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(
                    f"robosuite {robosuite.__version__} cannot make {env_name!r} from these env_args ({reason}): take "
                    'them from data.attrs["env_args"] of a Robomimic v1.4.1 file'
                ) from error
        # Robomimic observes them, robosuite leaves them out unless asked.
        for name in self._env.observation_names:
            if "joint_pos" in name or "eef_vel" in name:
                self._env.modify_observable(name, "active", True)

    @property
    def action_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest action, each [A]."""
        low, high = self._env.action_spec
        return low, high

    @property
    def control_freq(self) -> float:
        """Primitive steps per second."""
        return float(self._env.control_freq)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(self._env.sim.model.camera_names)

    @property
    def state_dim(self) -> int:
        """Length of a flattened state: time, positions, velocities."""
        return 1 + int(self._env.sim.model.nq) + int(self._env.sim.model.nv)

    def reset(self) -> dict[str, NDArray[np.float64]]:
        """Draw an initial state of the present model; its observations by name."""
        with self._stream.draw_from():
            return _rename(self._env.reset())

    def reset_to_state(
        self, state: NDArray[np.float64], model_xml: str | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Go to a recorded state, exactly; its observations by name.

        Args:
            state: [state_dim], time, positions and velocities.
            model_xml: the model of the recording (`model_file` of a demonstration), None for the present one. Actions
                replay only after the model was given: it also sets the controllers' resting posture.

        Raises:
            InputError: a state of another length.
            ModelError: a model that cannot be loaded.
        """
        if model_xml is not None:
            self._load_model(model_xml)
        if np.shape(state) != (self.state_dim,):
            raise InputError(
                f"a state of shape {np.shape(state)} does not fit the model of {type(self._env).__name__}, whose "
                f"states have {self.state_dim} numbers: give the model_file of its demonstration"
            )
        self._env.sim.set_state_from_flattened(np.asarray(state, np.float64))
        self._env.sim.forward()
        # Else the sampling times of the observables would shift with every forced update.
        for observable in self._env._observables.values():
            observable.reset()
        return _rename(self._env._get_observations(force_update=True))

    def _load_model(self, model_xml: str) -> None:
        self._camera = None
        try:
            xml = self._env.edit_model_xml(model_xml)
            with self._stream.draw_from():
                self._env.reset_from_xml_string(xml)
        # ElementTree, MuJoCo and robosuite each raise exceptions of their own.
        except Exception as error:
            # MuJoCo's reason goes on to list every name that there is.
            reason = shorten(" ".join(str(error).split()).split(". ")[0] or type(error).__name__)
            raise ModelError(
                f"the model of a demonstration of {type(self._env).__name__} cannot be loaded ({reason})"
            ) from error
        self._env.sim.reset()

    def step(self, action: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Execute one action [A]; observations by name."""
        return _rename(self._env.step(action)[0])

    @property
    def state(self) -> NDArray[np.float64]:
        """The flattened state, [state_dim]."""
        state: NDArray[np.float64] = self._env.sim.get_state().flatten()
        return state

    @property
    def success(self) -> bool:
        """Whether the task is done in this state."""
        return bool(self._env._check_success())

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return an image, uint8 [height, width, 3], upright, RGB."""
        if self._camera is None:
            sim = self._env.sim
            self._camera = Camera(sim.model._model, sim.data._data, reflections=self._reflections)
        return self._camera.render(camera, height, width)

    def close(self) -> None:
        """Free the simulation."""
        self._camera = None
        self._env.close()


def _rename(observations: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    named = {name: np.atleast_1d(value) for name, value in observations.items()}
    if _OBJECT_STATE in named:
        named[_OBJECT] = named[_OBJECT_STATE]
    return named


def _check_arguments(env_args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the keyword arguments, with what is ours to decide decided."""
    name, kwargs = env_args.get("env_name"), env_args.get("env_kwargs")
    if not isinstance(name, str) or not isinstance(kwargs, Mapping):
        raise InputError(
            f"env_args has the keys {sorted(env_args)}, but must have 'env_name' (a string) and 'env_kwargs' (a "
            'dictionary), as data.attrs["env_args"] of a Robomimic file'
        )
    # A device of the machine that recorded; observed cameras are ours.
    dropped = ("render_gpu_device_id", "camera_names")
    return name, {
        **{key: copy.deepcopy(value) for key, value in kwargs.items() if key not in dropped},
        "has_renderer": False,
        "has_offscreen_renderer": False,
        "use_camera_obs": False,
        "camera_depths": False,
        "use_object_obs": True,
        "ignore_done": True,
        "hard_reset": False,
        "reward_shaping": False,
    }
