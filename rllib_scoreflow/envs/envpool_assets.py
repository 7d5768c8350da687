"""EnvPool's MuJoCo models with the contacts of the MuJoCo that recorded the datasets.

EnvPool 1.0 to 1.2 is compiled with MuJoCo 3.6. Since MuJoCo 3.5 the margin of a contact is the
sum of the margins of its two geoms, before it was the larger one. Hopper, Ant and Humanoid have
geoms with a margin, so that there their contacts begin twice as early and the dynamics part from
those of the published datasets and of the mujoco package that we pin, by 3e-2 after 20 steps of
Hopper. All geoms of these models have the same margin: half of it, summed, is the old one, and
with it EnvPool follows gymnasium to rounding errors.
"""

import re
from pathlib import Path

_GEOM_MARGIN = re.compile(r'(<geom\b[^>]*?\bmargin=")([^"]+)(")')


def write_models_with_half_margins(base_path: Path, target: Path) -> None:
    """Copy EnvPool's gymnasium models to `target`, halving the margin of every geom.

    Args:
        base_path: EnvPool's folder of assets.
        target: existing empty folder, to be given to EnvPool as its `base_path`.
    """
    folder = Path("mujoco", "assets_gym")
    (target / folder).mkdir(parents=True)
    for model in sorted((base_path / folder).glob("*.xml")):
        text = _GEOM_MARGIN.sub(lambda m: f"{m[1]}{float(m[2]) / 2!r}{m[3]}", model.read_text(encoding="utf-8"))
        (target / folder / model.name).write_text(text, encoding="utf-8")
