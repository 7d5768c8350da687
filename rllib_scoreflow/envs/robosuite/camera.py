"""Looking at a MuJoCo model of robosuite's.

robosuite's own offscreen renderer is not used: with several environments in one process it draws into whatever
OpenGL context was made last, and it cannot be made in a process that Ray gave no GPU (CUDA_VISIBLE_DEVICES="").
"""

import atexit
import functools
import hashlib
import importlib
import os
import sys
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError

_MAX_GEOMS = 1000
# robosuite's groups of geoms: 0 is for collisions, 1 is to be seen.
_GEOM_GROUPS = {0: 0, 1: 1}


class _Context:
    """An OpenGL context that holds the meshes, materials and textures of one kind of model.

    The models of all environments of a task differ in the sizes of objects at most, which are part of the scene: one
    context for all of them saves 240 MB and several seconds (Mesa, Lift) for each environment but the first.
    """

    def __init__(self, mujoco: Any, model: Any) -> None:
        self._gl: Any = None
        self._resources: Any = None
        self._gl = _gl_context(model.vis.global_.offwidth, model.vis.global_.offheight)
        _close_before_opengl_ends()
        _open_contexts.add(self)
        self._gl.make_current()
        self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)

    def for_size(self, mujoco: Any, height: int, width: int) -> Any:
        """Make the context current and at least this large; what mujoco renders with."""
        self._gl.make_current()
        size = max(width, self._resources.offWidth), max(height, self._resources.offHeight)
        if size != (self._resources.offWidth, self._resources.offHeight):
            mujoco.mjr_resizeOffscreen(*size, self._resources)
        return self._resources

    def close(self) -> None:
        """Free everything; further calls do nothing."""
        if self._gl is not None:
            self._gl.make_current()
            if self._resources is not None:
                self._resources.free()
            self._gl.free()
            self._gl = None

    def __del__(self) -> None:
        self.close()


_open_contexts: weakref.WeakSet[_Context] = weakref.WeakSet()
_contexts: weakref.WeakValueDictionary[str, _Context] = weakref.WeakValueDictionary()


def _shared_context(mujoco: Any, model: Any) -> _Context:
    digest = hashlib.blake2b(digest_size=16)
    for name in ("mesh_vert", "mesh_face", "mesh_texcoord", "tex_data", "mat_texid", "mat_texrepeat", "mat_texuniform"):
        digest.update(f"{name}{getattr(model, name).shape}".encode())
        digest.update(np.ascontiguousarray(getattr(model, name)).data)
    key = digest.hexdigest()
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = _Context(mujoco, model)
    return context


@functools.cache
def _close_before_opengl_ends() -> None:
    """Register once, and after EGL registered its own end, what closes the contexts still open at exit."""
    atexit.register(_close_all)


def _close_all() -> None:
    for context in list(_open_contexts):
        context.close()


class Camera:
    """Renders a model and its data offscreen, through EGL on Linux (or OSMesa: MUJOCO_GL=osmesa).

    Args:
        model: mujoco.MjModel.
        data: mujoco.MjData.
        reflections: also render the reflections in floor and table (and shadows), as Robomimic's own scripts do. They
            change about two pixels in a hundred of Lift's agentview by up to 12 of 255 and cost more than everything
            else in the image.

    Raises:
        InputError: there is no OpenGL here.
    """

    def __init__(self, model: Any, data: Any, *, reflections: bool) -> None:
        mujoco: Any = importlib.import_module("mujoco")
        self._mujoco, self._model, self._data = mujoco, model, data
        self._context = _shared_context(mujoco, model)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SHADOW):
            self._scene.flags[flag] = reflections
        self._options = mujoco.MjvOption()
        for group, visible in _GEOM_GROUPS.items():
            self._options.geomgroup[group] = visible
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return what the named camera of the model sees, uint8 [height, width, 3], upright, RGB."""
        mujoco = self._mujoco
        resources = self._context.for_size(mujoco, height, width)
        self._view.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, resources)
        image = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, viewport, resources)
        # OpenGL's first row is the lowest.
        return image[::-1]


def _gl_context(width: int, height: int) -> Any:
    """Make an OpenGL context, whatever library mujoco chose when it was imported."""
    backend = os.environ.get("MUJOCO_GL", "").lower()
    if sys.platform != "linux":
        module = "mujoco.gl_context"
    elif backend in ("osmesa", "glfw"):
        module = f"mujoco.{backend}"
    else:
        module = "mujoco.egl"
    try:
        return importlib.import_module(module).GLContext(width, height)
    # OpenGL and EGL raise exceptions of their own, among them AttributeError where a library is missing.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"images cannot be rendered here ({module}: {reason}): on Linux apt-get install -y libegl1 "
            "libgl1-mesa-dri, and set MUJOCO_EGL_DEVICE_ID where one of several GPUs does not work"
        ) from error
