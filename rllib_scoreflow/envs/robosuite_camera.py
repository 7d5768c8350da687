"""Looking at a MuJoCo model of robosuite's.

robosuite's own offscreen renderer is not used: with several environments in one process it draws into whatever
OpenGL context was made last, and it cannot be made in a process that Ray gave no GPU (CUDA_VISIBLE_DEVICES="").
"""

import importlib
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.errors import InputError

_MAX_GEOMS = 1000
# robosuite's groups of geoms: 0 is for collisions, 1 is to be seen.
_GEOM_GROUPS = {0: 0, 1: 1}


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
        self._gl = _gl_context(model.vis.global_.offwidth, model.vis.global_.offheight)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
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
        self._gl.make_current()
        if width > self._context.offWidth or height > self._context.offHeight:
            mujoco.mjr_resizeOffscreen(
                max(width, self._context.offWidth), max(height, self._context.offHeight), self._context
            )
        self._view.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        image = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, viewport, self._context)
        # OpenGL's first row is the lowest.
        return image[::-1]

    def close(self) -> None:
        """Free the OpenGL context; further calls do nothing."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None


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
