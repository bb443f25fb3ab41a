"""Models and weights from files: what works, and an error for each way in which it cannot."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from separatrix.report.loading import load_model
from separatrix.results.errors import ArgumentError

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, x):
        return self.inner(x)

ready = Net()
def make():
    return Net()
def needs(width):
    return Net()
number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "net.py").write_text(SOURCE)
    return f"{tmp_path / 'net.py'}"


@pytest.mark.parametrize("name", ["Net", "ready", "make"])
def test_classes_instances_and_functions(file, name):
    assert type(load_model(f"{file}:{name}")).__name__ == "Net"


def test_a_module_on_the_path():
    assert isinstance(load_model("torch.nn:Identity"), nn.Identity)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "pth", "nested"])
def test_weights_are_those_of_the_file(file, tmp_path, kind):
    state = {"inner.weight": torch.arange(6.0).reshape(2, 3), "inner.bias": torch.tensor([1.0, 2.0])}
    path = tmp_path / f"w.{'pt' if kind == 'nested' else kind}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "model_state_dict": state} if kind == "nested" else state, path)
    model = load_model(f"{file}:make", path)
    assert model(torch.tensor([[1.0, 0.0, 1.0]])).tolist() == [[0 + 2 + 1, 3 + 5 + 2]]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_pickle_is_not_run(file, tmp_path):
    torch.save({"inner.weight": Bomb(tmp_path / "exploded")}, tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match="more than tensors"):
        load_model(f"{file}:make", tmp_path / "w.pt")
    assert not (tmp_path / "exploded").exists()


def test_a_pickled_model_is_refused(file, tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match="state_dict") as caught:
        load_model(f"{file}:make", tmp_path / "w.pt")
    assert caught.value.argument == "weights"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"inner.weight": torch.zeros(2, 3)}, r"without inner\.bias"),
        ({"inner.weight": torch.zeros(2, 3), "inner.bias": torch.zeros(2), "outer": torch.zeros(1)}, "with outer"),
        ({"inner.weight": torch.zeros(2, 4), "inner.bias": torch.zeros(2)}, r"\(2, 4\) instead of \(2, 3\)"),
        ({"module.inner.weight": torch.zeros(2, 3), "module.inner.bias": torch.zeros(2)}, r"model\.module\.state_dict"),
        ([1, 2], "list"),
    ],
)
def test_weights_of_another_model_are_named(file, tmp_path, state, words):
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match=words) as caught:
        load_model(f"{file}:make", tmp_path / "w.pt")
    assert caught.value.argument == "weights"


def test_unreadable_weights(file, tmp_path):
    with pytest.raises(ArgumentError, match="no such file"):
        load_model(f"{file}:make", tmp_path / "w.pt")
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(b"neither of them")
        with pytest.raises(ArgumentError, match=name.replace(".", r"\.")):
            load_model(f"{file}:make", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "words"), [("number", "int"), ("needs", "needs the arguments width"), ("nett", "Net")]
)
def test_what_is_no_model(file, name, words):
    with pytest.raises(ArgumentError, match=words) as caught:
        load_model(f"{file}:{name}")
    assert caught.value.argument == "model"
