"""Configs and grids: what is the same run, and what cannot be part of one."""

import copy
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from separatrix.results.errors import ArgumentError
from separatrix.sweeps import Config
from separatrix.sweeps.grids import Grid, read_grid
from separatrix.sweeps.runstore import identity

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda n: n not in {"get", "items", "keys", "values"}
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def test_identity_is_that_of_the_written_rule():
    text = '{"config":{"lr":0.1,"widths":[5,50]},"task":"study:train","version":"2"}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:24]
    assert identity({"widths": (5, 50), "lr": 0.1}, "study:train", "2") == expected
    assert identity(Config({"lr": np.float64(0.1), "widths": [np.int32(5), 50]}), "study:train", "2") == expected


def test_identity_keeps_apart_what_differs():
    configs = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {"a": (1,)}, {"b": 1}, {"a": 1, "b": None}]
    keys = [identity(config, "m:f", "1") for config in configs]
    keys += [identity({"a": 1}, "m:g", "1"), identity({"a": 1}, "m:f", "2")]
    assert len(set(keys)) == len(keys)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_configs_survive_json_pickle_and_order(values):
    config = Config(values)
    for back in (
        Config(json.loads(config.text)),
        pickle.loads(pickle.dumps(config)),
        copy.deepcopy(config),
        Config(dict(reversed(values.items()))),
        Grid.from_json(json.loads(json.dumps(read_grid([values]).to_json()))).configs[0],
    ):
        assert back == config and hash(back) == hash(config) and back.text == config.text


def test_a_config_is_frozen_and_read_by_item_or_attribute():
    config = Config({"lr": 0.1, "widths": [5, [6]], "model": {"depth": 2}})
    assert config.lr == config["lr"] == 0.1 and config.widths == (5, (6,)) and config.model.depth == 2
    assert {**config} == config and list(config) == ["lr", "widths", "model"] and "Config(lr=0.1" in repr(config)
    with pytest.raises(AttributeError, match="frozen"):
        config.lr = 2
    with pytest.raises(TypeError):
        config["lr"] = 2
    with pytest.raises(AttributeError, match="no 'rate'; it has lr"):
        config.rate  # noqa: B018
    assert not hasattr(config, "__array__")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "nan"),
        (np.inf, "inf"),
        (Path("/tmp"), "str(path)"),
        (np.arange(3), "tolist"),
        (torch.tensor(1.0), "tolist"),
        (np.longdouble(1), "longdouble"),
        ({1, 2}, "set"),
        (print, "builtin"),
        (1j, "complex"),
    ],
)
def test_values_that_have_no_identity_are_refused_by_name(value, words):
    with pytest.raises(ArgumentError) as caught:
        read_grid({"lr": [0.1, value]})
    assert caught.value.argument == "grid['lr'][1]" and words in str(caught.value)
    with pytest.raises(ArgumentError) as caught:
        Config({"deep": [1, {"inner": value}]})
    assert caught.value.argument == "config['deep'][1]['inner']"


@pytest.mark.parametrize("name", ["", "two words", "_hidden", "keys", "0", 3])
def test_names_that_cannot_be_attributes_are_refused(name, as_user):
    with pytest.raises(ArgumentError, match="identifier"):
        Config({name: 1})


def test_a_grid_is_the_product_without_repetitions():
    grid = read_grid({"a": [1, 2, 1], "b": np.array([0.5]), "c": range(2)})
    assert [dict(config) for config in grid.configs] == [{"a": a, "b": 0.5, "c": c} for a in (1, 2) for c in (0, 1)]
    assert grid.shape == (2, 1, 2)
    single = read_grid(dict(config) for config in [*grid.configs, *grid.configs])
    assert single.configs == grid.configs and single.axes is None


@pytest.mark.parametrize(
    ("grid", "argument"),
    [
        ({}, "grid"),
        ([], "grid"),
        ({"a": []}, "grid['a']"),
        ({"a": "text"}, "grid['a']"),
        ({"a": 3}, "grid['a']"),
        ({"a": {1, 2}}, "grid['a']"),
        ({"a": [1, 1.0]}, "grid['a']"),
        ({"a": [0, False]}, "grid['a']"),
        ([{"a": 1}, 2], "grid[1]"),
        ("abc", "grid"),
        (3, "grid"),
    ],
)
def test_unusable_grids(grid, argument, as_user):
    with pytest.raises(ArgumentError) as caught:
        read_grid(grid)
    assert caught.value.argument == argument
