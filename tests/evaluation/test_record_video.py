"""Videos of one episode, rendered for real."""

import numpy as np
import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import evaluate_policy, record_video

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date.*")

imageio = pytest.importorskip("imageio.v2")


def lean_forward(observations):
    return np.full((len(observations), 12), 0.5, np.float32)


OPTIONS = {"seed": 3, "act_steps": 3, "horizon": 4, "max_episode_steps": 8}


def test_every_primitive_step_is_a_frame_of_a_standing_hopper(tmp_path):
    path = tmp_path / "hopper.mp4"
    recording = record_video(lean_forward, "hopper-medium-v2", path, **OPTIONS)
    with imageio.get_reader(path) as reader:
        frames = [np.asarray(frame) for frame in reader]
        assert reader.get_meta_data()["fps"] == recording.fps == 125
    assert len(frames) == recording.frames == recording.length + 1 == 9
    red, _, blue = np.moveaxis(frames[0].astype(int), -1, 0)
    body = np.argwhere(red - blue > 40)  # the hopper is the only brown thing
    height, width = frames[0].shape[:2]
    tall, wide = np.ptp(body, axis=0)
    assert tall > 2 * wide
    assert abs(np.median(body[:, 1]) - width / 2) < width / 10
    assert tall > height / 3
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50
    assert [p.name for p in tmp_path.iterdir()] == ["hopper.mp4"]
    evaluation = evaluate_policy(lean_forward, "Hopper-v4", episodes=1, backend="gymnasium", **OPTIONS)
    assert evaluation.returns[0] == pytest.approx(recording.episode_return)


def test_no_file_is_replaced_unasked_or_left_half_written(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"a\.mp4' exists"):
        record_video(lean_forward, "Hopper-v4", path, **OPTIONS)

    def fail(observations):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record_video(fail, "Hopper-v4", path, overwrite=True, **OPTIONS)
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    record_video(lean_forward, "Hopper-v4", path, overwrite=True, **OPTIONS)
    assert path.stat().st_size > 1000


def test_where_rendering_fails_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "no-such-backend")
    with pytest.raises(InputError, match=r"cannot be rendered here.*apt-get install.*libegl1"):
        record_video(lean_forward, "Hopper-v4", tmp_path / "a.mp4", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_bad_targets(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.mp4"):
        record_video(lean_forward, "Hopper-v4", tmp_path / "a.gif", **OPTIONS)
    with pytest.raises(InputError, match=r"folder .* does not exist"):
        record_video(lean_forward, "Hopper-v4", tmp_path / "b" / "a.mp4", **OPTIONS)
