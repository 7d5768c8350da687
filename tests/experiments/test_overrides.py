import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.overrides import apply_overrides, parse_override

RAW = {
    "pre": {"run": "A", "config": {"epochs": 3, "net": {"size": 1}}, "stop": {"it": 1}},
    "fine.tune": {"run": "B", "config": {"gamma": 0.9}},
}
# Key -> whether it has an effect.
KEYS = {
    "A": {"epochs": True, "net": True, "lr": True, "num_env_runners": False, "explore": False},
    "B": {"gamma": True, "lr": True, "num_env_runners": True, "explore": False},
}


def apply(*texts):
    overrides = [parse_override(text) for text in texts]
    return apply_overrides(RAW, overrides, lambda body: KEYS[body["run"]])


def test_a_named_experiment_is_changed_alone():
    changed = apply("pre.config.epochs=5e0", "fine.tune.config.gamma=0.99", "pre.config.net.size=[1, 2]")
    assert changed["pre"]["config"] == {"epochs": 5.0, "net": {"size": [1, 2]}}
    assert changed["fine.tune"]["config"] == {"gamma": 0.99}
    assert RAW["pre"]["config"] == {"epochs": 3, "net": {"size": 1}}


def test_a_config_key_changes_every_experiment_that_has_it():
    changed = apply("config.lr=1e-3", "config.gamma=0.5")
    assert changed["pre"]["config"]["lr"] == changed["fine.tune"]["config"]["lr"] == 1e-3
    assert "gamma" not in changed["pre"]["config"]
    assert changed["fine.tune"]["config"]["gamma"] == 0.5


def test_a_config_key_leaves_those_alone_on_which_it_has_no_effect():
    changed = apply("config.num_env_runners=2", "config.explore=false")
    assert "num_env_runners" not in changed["pre"]["config"]
    assert changed["fine.tune"]["config"]["num_env_runners"] == 2
    # On none: so that the reason is given for one of them.
    assert changed["pre"]["config"]["explore"] is changed["fine.tune"]["config"]["explore"] is False


def test_a_stop_is_for_those_that_report_it():
    overrides = [parse_override(text) for text in ("stop.steps=7", "stop.nothing=2")]
    changed = apply_overrides(RAW, overrides, lambda _: {}, lambda body, key: key == "steps" and body["run"] == "B")
    assert changed["pre"]["stop"] == {"it": 1, "nothing": 2}
    assert changed["fine.tune"]["stop"] == {"steps": 7, "nothing": 2}


def test_other_keys_change_all_and_make_what_is_missing():
    changed = apply("stop.it=7", "num_samples=2")
    assert [body["stop"]["it"] for body in changed.values()] == [7, 7]
    assert [body["num_samples"] for body in changed.values()] == [2, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config.gama=1", ["config.gama", "'gamma'"]),
        ("gamma=1", ["'gamma'"]),
        ("pree.config.lr=1", ["'pree'", "'pre'"]),
        ("pre=1", ["none of its keys"]),
        ("pre.config.epochs.x=1", ["config.epochs is 3"]),
        ("pre.config.epochs", ["KEY=VALUE"]),
        ("a..b=1", ["KEY=VALUE"]),
        ("pre.config.epochs=[1", ["pre.config.epochs"]),
    ],
)
def test_bad_overrides_are_refused(text, words):
    with pytest.raises(InputError) as caught:
        apply(text)
    assert "--set" in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("key", ["num_epochs", "num_sgd_iter"])
def test_what_comes_last_counts_however_it_is_called(key):
    raw = {"a": {"run": "PPO", "config": {"num_sgd_iter": 4, "num_epochs": 4, "gamma": 0.9}}}
    changed = apply_overrides(raw, [parse_override(f"config.{key}=2")], lambda body: {key: True})
    assert changed["a"]["config"] == {key: 2, "gamma": 0.9}
