"""Images rendered from recorded states, for real."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from rllib_scoreflow.envs.robosuite.render import render_dataset
from rllib_scoreflow.errors import InputError

pytest.importorskip("robosuite", reason="robosuite is not installed")

FIXTURES = Path(__file__).parent / "fixtures"
# Four steps of the demonstration and what Robomimic's own way of recording saw in them, made by
# scripts/make_robosuite_fixture.py.
IMAGES = FIXTURES / "lift_image.hdf5"
OPTIONS = {"cameras": ["agentview", "robot0_eye_in_hand"], "image_size": (84, 84)}


def ignore(done, total):
    pass


def raw(path, *, observed=False, environment=True, steps=4):
    """A file as robosuite's own script writes it, from a recording of ours."""
    with h5py.File(IMAGES) as source, h5py.File(path, "w") as file:
        data = file.create_group("data")
        env_args = json.loads(source["data"].attrs["env_args"])
        if environment:
            data.attrs["env"] = env_args["env_name"]
            data.attrs["env_info"] = json.dumps({"env_name": "Lift", **env_args["env_kwargs"]})
        for name in ("demo_1", "demo_2", "demo_10"):
            demonstration = data.create_group(name)
            demonstration.attrs["model_file"] = source["data/demo_0"].attrs["model_file"]
            for key in ("states", "actions"):
                demonstration[key] = source[f"data/demo_0/{key}"][:steps]
    return path


def test_rendered_images_are_the_recorded_ones(tmp_path):
    calls = []
    target = tmp_path / "images.hdf5"
    render_dataset(IMAGES, target, progress=lambda *call: calls.append(call), reflections=True, **OPTIONS)
    assert calls == [(0, 1), (1, 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["images.hdf5"]
    with h5py.File(IMAGES) as source, h5py.File(target) as made:
        wanted, got = source["data/demo_0"], made["data/demo_0"]
        for camera in OPTIONS["cameras"]:
            images, recorded = got[f"obs/{camera}_image"], wanted[f"obs/{camera}_image"][:]
            assert images.dtype == np.uint8
            assert images.compression == "gzip"
            assert f"{camera}_image" not in got["next_obs"]
            difference = np.abs(images[:].astype(int) - recorded)
            assert difference[0].max() <= 1  # the others were seen 4 ms before their state
            assert difference.mean(axis=(1, 2, 3)).max() < 1
            assert np.abs(images[:][:, ::-1].astype(int) - recorded).mean() > 10  # and not upside down
        for key in wanted["obs"]:
            if not key.endswith("_image"):
                difference = got[f"obs/{key}"][:] - wanted[f"obs/{key}"][:]
                assert np.abs(difference).max() < 5e-3
                np.testing.assert_array_equal(got[f"next_obs/{key}"][:-1], got[f"obs/{key}"][1:])
        for key in ("states", "actions", "rewards", "dones"):
            np.testing.assert_array_equal(got[key][:], wanted[key][:])
        assert got.attrs["model_file"] == wanted.attrs["model_file"]
        env_kwargs = json.loads(made["data"].attrs["env_args"])["env_kwargs"]
        assert env_kwargs["camera_names"] == OPTIONS["cameras"]
        assert (env_kwargs["camera_heights"], env_kwargs["camera_widths"]) == (84, 84)


def test_robosuites_own_recordings(tmp_path):
    target = tmp_path / "made.hdf5"
    calls = []
    render_dataset(
        raw(tmp_path / "raw.hdf5", steps=2), target, cameras=["frontview"], image_size=(32, 48),
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with h5py.File(target) as made:
        assert made["data"].attrs["total"] == 6
        assert json.loads(made["data"].attrs["env_args"])["env_name"] == "Lift"
        demonstration = made["data/demo_10"]
        assert demonstration.attrs["num_samples"] == 2
        assert demonstration["obs/frontview_image"].shape == (2, 32, 48, 3)
        assert demonstration["obs/object"].shape == demonstration["next_obs/object"].shape == (2, 10)
        assert not any("cube" in name or name.endswith("state") for name in demonstration["obs"])
        np.testing.assert_array_equal(demonstration["rewards"], [0, 0])
        np.testing.assert_array_equal(demonstration["dones"], [0, 1])


def test_without_cameras_the_low_dimensional_observations_are_made(tmp_path):
    target = tmp_path / "made.hdf5"
    render_dataset(raw(tmp_path / "raw.hdf5"), target, cameras=[], image_size=(84, 84), progress=ignore)
    with h5py.File(IMAGES) as source, h5py.File(target) as made:
        assert not json.loads(made["data"].attrs["env_args"])["env_kwargs"]["use_camera_obs"]
        got, wanted = made["data/demo_1/obs"], source["data/demo_0/obs"]
        assert not any(name.endswith("_image") for name in got)
        assert np.abs(got["object"][:] - wanted["object"][:]).max() < 5e-3


def test_bad_input_leaves_nothing_behind(tmp_path):
    existing = tmp_path / "existing.hdf5"
    existing.write_bytes(b"precious")
    target = tmp_path / "target.hdf5"
    text = tmp_path / "text.hdf5"
    text.write_text("no HDF5")
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file.create_group("data")
    incomplete = raw(tmp_path / "incomplete.hdf5")
    with h5py.File(incomplete, "a") as file:
        del file["data/demo_2/states"]
    uneven = raw(tmp_path / "uneven.hdf5")
    with h5py.File(uneven, "a") as file:
        del file["data/demo_1/actions"]
        file["data/demo_1/actions"] = np.zeros((3, 7))
    for source, options, message in (
        (IMAGES, {"target": existing}, r"existing\.hdf5' exists"),
        (IMAGES, {"target": tmp_path / "no" / "x.hdf5"}, "folder .* does not exist"),
        (IMAGES, {"image_size": (0, 84)}, "at least one pixel"),
        (IMAGES, {"cameras": ["agentveiw"]}, "Lift has no camera agentveiw: choose from frontview"),
        (text, {}, "cannot be read as HDF5"),
        (tmp_path / "empty.hdf5", {}, "no data/demo_N groups"),
        (raw(tmp_path / "unknown.hdf5", environment=False), {}, "neither the attribute env_args"),
        (incomplete, {}, "data/demo_2 lacks states"),
        (uneven, {}, r"data/demo_1 has states of shape \(4, 32\) and actions of shape \(3, 7\)"),
    ):
        before = {path.name for path in tmp_path.iterdir()}
        with pytest.raises(InputError, match=message) as caught:
            render_dataset(source, **{"target": target, "progress": ignore} | OPTIONS | options)
        assert "\n" not in str(caught.value)
        assert {path.name for path in tmp_path.iterdir()} == before
    assert existing.read_bytes() == b"precious"


def of_another_release(path, *, good=1, bad=1):
    """Recordings whose models lack what robosuite 1.4 looks for; the actions of some do nothing."""
    with h5py.File(FIXTURES / "lift.hdf5") as source, h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = source["data"].attrs["env_args"]
        recorded = source["data/demo_0"]
        for number in range(good + bad):
            demonstration = file.create_group(f"data/demo_{number}")
            model = recorded.attrs["model_file"]
            demonstration.attrs["model_file"] = model.replace("robot0_link7_collision", "robot0_g_col")
            demonstration["states"] = recorded["states"][:]
            demonstration["actions"] = recorded["actions"][:] * (number < good)
        file["mask/train"] = np.array([f"demo_{number}" for number in range(good + bad)], dtype="S")
    return path


def test_recordings_of_another_release_are_shown_in_the_own_model_where_their_actions_succeed(tmp_path):
    target = tmp_path / "made.hdf5"
    source = of_another_release(tmp_path / "other.hdf5")
    note = render_dataset(source, target, cameras=[], image_size=(84, 84), progress=ignore)
    assert '(No "geom" with name robot0_link7_collision exists)' in note
    assert "in 1 of 2 demonstrations; left out: demo_1" in note
    assert len(note) < 500
    with h5py.File(FIXTURES / "lift.hdf5") as recorded, h5py.File(target) as made:
        assert list(made["data"]) == ["demo_0"]
        assert made["mask/train"][:].tolist() == [b"demo_0"]
        got, wanted = made["data/demo_0"], recorded["data/demo_0"]
        np.testing.assert_array_equal(got["states"][:], wanted["states"][:])
        assert np.abs(got["obs/object"][:] - wanted["obs/object"][:]).max() < 5e-3
        assert got["rewards"][:].max() == 1.0


def test_recordings_of_another_release_that_fail_or_do_not_fit_are_refused_in_short(tmp_path):
    failing = of_another_release(tmp_path / "failing.hdf5", good=0)
    with h5py.File(of_another_release(tmp_path / "narrow.hdf5"), "a") as file:
        states = file["data/demo_0/states"][:, :-2]
        del file["data/demo_0/states"]
        file["data/demo_0/states"] = states
    for source, message in (
        (failing, "none of its 1 recorded sequences of actions does the task"),
        (tmp_path / "narrow.hdf5", "its states of 30 numbers are not of robosuite 1.4's own model, whose have 32"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            render_dataset(source, tmp_path / "made.hdf5", progress=ignore, **OPTIONS)
        assert len(str(caught.value)) < 500
    assert not (tmp_path / "made.hdf5").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "kept"), [("lift", 3), ("handover/panda_panda", None), ("wipe/panda", 0)], ids=["lift", "handover", "wipe"]
)
def test_the_human_sets_of_the_wheel(name, kept, tmp_path):
    import robosuite

    source = Path(robosuite.__file__).parent / "models/assets/demonstrations" / name / "demo.hdf5"
    target = tmp_path / "made.hdf5"
    options = {"cameras": ["agentview"], "image_size": (84, 84), "progress": ignore}
    if kept == 0:
        with pytest.raises(InputError, match=r"cannot be loaded.*cannot be shown with this release"):
            render_dataset(source, target, **options)
        return
    assert "own model shows the recorded states" in render_dataset(source, target, **options)
    with h5py.File(target) as made:
        assert len(made["data"]) >= (kept or 3)
        for demonstration in made["data"].values():
            assert demonstration["obs/agentview_image"].shape[1:] == (84, 84, 3)
            assert demonstration["obs/agentview_image"][:].std() > 10
