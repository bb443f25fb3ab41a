"""The command from an installed wheel, in a folder that holds what a user has: a model's code, weights and data."""

import gzip
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file
from torch import nn

NETWORKS = '''
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, narrow, wide, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.downsample = None
        if stride != 1 or narrow != wide:
            self.downsample = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x):
        skip = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += skip
        return self.relu(out)


class ResNet18(nn.Module):
    """As in He et al. (2016), with the stem for small images; the width is 64 there."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        wide = [width, width, 2 * width, 4 * width, 8 * width]
        for i in range(1, 5):
            stage = nn.Sequential(Block(wide[i - 1], wide[i], 1 if i == 1 else 2), Block(wide[i], wide[i], 1))
            setattr(self, f"layer{i}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(wide[4], classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VisionTransformer(nn.Module):
    def __init__(self, size=8, patch=4, width=12, heads=2, depth=2, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.encoder(x)[:, 0]))


class GRUClassifier(nn.Module):
    def __init__(self, inputs=2, hidden=12, classes=2):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        _, last = self.gru(x)
        return self.head(last[-1])


def narrow():
    return ResNet18(width=4)
'''

CIRCLES = '''
import torch


def sequences():
    """Noisy circles, run through one way or the other: 16 steps of two numbers."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    angle = (2.0 * y[:, None] - 1) * torch.linspace(0, 6.28, 16) + 6.28 * torch.rand(400, 1, generator=g)
    X = torch.stack([torch.cos(angle), torch.sin(angle)], dim=2)
    return X + 0.2 * torch.randn(X.shape, generator=g), y


def some(count, noise=0.2):
    return None
'''


def write_idx(path, a):
    head = (0x800 + a.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in a.shape)
    path.write_bytes(gzip.compress(head + a.astype(np.uint8).tobytes()))


def from_file(path):
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fit(model, X, y, steps, rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        rows = torch.randint(len(X), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The command of an environment that holds the wheel, and all else from the one of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    root = Path(__file__).resolve().parents[2]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, root]
    subprocess.run([str(v) for v in build], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run([str(v) for v in install], check=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # a line in a .pth file adds the folder of the tests' packages, but not what their own .pth files add
    (site / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n")
    where = subprocess.run(
        [python, "-c", "import separatrix; print(separatrix.__file__)"],
        capture_output=True, text=True, check=True, cwd=folder,
    ).stdout  # fmt: skip
    assert str(site) in where
    return folder / "env/bin/separatrix"


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with code, weights and data, and the networks that were trained for it."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("user")
    (folder / "nets.py").write_text(NETWORKS)
    (folder / "circles.py").write_text(CIRCLES)
    nets, bunch = from_file(folder / "nets.py"), load_digits()
    images, labels = bunch.images, bunch.target
    large = np.kron(images, np.ones((2, 2))) * 255 // 16
    (folder / "images").mkdir()
    for name, rows in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        write_idx(folder / "images" / f"{name}-images-idx3-ubyte.gz", large[rows])
        write_idx(folder / "images" / f"{name}-labels-idx1-ubyte.gz", labels[rows])
    small = (images[:, None] / 16).astype(np.float32)
    np.savez(folder / "digits8.npz", X_train=small[:1400], y_train=labels[:1400], X_test=small[1400:],
             y_test=labels[1400:])  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y, X16, X8 = torch.tensor(labels), torch.tensor(large).float()[:, None] / 255, torch.tensor(small)
        resnet = fit(nets.narrow(), X16[:1400], y[:1400], 25, 5e-3)
        transformer = fit(nets.VisionTransformer(), X8[:1400], y[:1400], 60, 5e-3)
        gru = fit(nets.GRUClassifier(), *from_file(folder / "circles.py").sequences(), 60, 1e-2)
    torch.save(resnet.state_dict(), folder / "resnet.pt")
    save_file(transformer.state_dict(), folder / "vit.safetensors")
    torch.save({"epoch": 2, "state_dict": gru.state_dict()}, folder / "gru.pt")
    return {
        "folder": folder,
        "resnet": (resnet, X16[1400:], y[1400:]),
        "vit": (transformer, X8[1400:], y[1400:]),
        "gru": (gru, None, None),
    }


def call(program, folder, *arguments, check=0):
    done = subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == check, done.stderr
    return done


def report(program, user, name, model, data, *options):
    """Page, its text as a reader sees it, and the results beside it by the end of their names."""
    folder = user["folder"]
    weights = next(p.name for p in folder.glob(f"{name}.*") if p.suffix in (".pt", ".safetensors"))
    command = ["report", model, "--weights", weights, "--data", data, "--out", f"{name}.html", *options, "-q"]
    done = call(program, folder, *command)
    page = (folder / f"{name}.html").read_text()
    assert "Traceback" not in done.stderr and 'class="failed"' not in page and "could not be made" not in page
    files = {p.stem.split("-", 2)[2]: xr.load_dataset(p) for p in folder.glob(f"{name}-*.nc")}
    assert {"field", "points"} <= set(files)
    return page, " ".join(re.sub(r"<[^>]*>", " ", page.split("<main>")[1]).split()), files


def accuracy(model, X, y):
    with torch.no_grad():
        return 100 * float((model(X).argmax(1) == y).double().mean())


def test_a_resnet_with_idx_files(program, user):
    layers = ["--layers", "avgpool", "--layers", "output"]
    # time enough to refine the boundary on a busy machine, too
    slow = ["--resolution", 12, "--points", 40, "--seconds", 600]
    _, text, files = report(program, user, "resnet", "nets.py:narrow", "images", *layers, *slow)
    model, X, y = user["resnet"]
    assert f"test accuracy {accuracy(model, X, y):.1f} %" in text
    assert "reshaped to 1×16×16" in text and "layer4.1.bn2#1" in text
    # a network of ReLUs has no ridges, and the page says why in the words of sx.ridges
    assert "piecewise-linear: the stretch is constant between the kinks" in text
    assert not any(name.startswith("ridges") for name in files)
    # several classes: lines belong to pairs, and on each of them these two logits tie
    boundary = files["boundary"]
    assert "with the numbers of the two classes" in text and (boundary["first"] < boundary["second"]).all()
    on_the_line(model, boundary)


def on_the_line(model, boundary):
    place = torch.from_numpy(boundary["position"].values @ boundary["basis"].values + boundary["origin"].values)
    with torch.no_grad():
        logits = model.double()(place.reshape(-1, *boundary.attrs["input_shape"]))
    model.float()
    pair = np.repeat(np.stack([boundary["first"], boundary["second"]], 1), boundary["count"], axis=0)
    two = logits.gather(1, torch.from_numpy(pair))
    # a place where the gradient jumps may not have converged, and says so
    good = boundary["status"].values == 0
    assert good.mean() > 0.9
    assert (two[:, 0] - two[:, 1]).abs()[good].max() < 1e-9
    assert (logits.max(1).values - two[:, 0])[good].max() < 1e-9


def test_a_vision_transformer_with_safetensors_and_npz(program, user):
    page, text, files = report(program, user, "vit", "nets.py:VisionTransformer", "digits8.npz", "--seconds", 2)
    model, X, y = user["vit"]
    assert f"test accuracy {accuracy(model, X, y):.1f} %" in text
    assert "1,400 training and 397 test inputs of 1×8×8 from digits8.npz" in text
    assert page.count("<image") >= 2 * 3, "the three inputs stand in their places as pictures"
    points = files["points"]
    rows = np.random.default_rng(0).permutation(len(X))[: points.sizes["point"]]
    for i in range(min(2, len(rows))):
        jacobian = torch.autograd.functional.jacobian(model, X[rows[i] : rows[i] + 1]).reshape(10, 64)
        expected = torch.linalg.svdvals(jacobian.double())[0].log()
        found = points["stretch"].isel(member=0, index=0, point=i).sel(layer="output")
        assert abs(float(found) - float(expected)) < 1e-4
    if files["boundary"].attrs["method"] == "newton":
        on_the_line(model, files["boundary"])
    else:
        assert "The boundary is interpolated between nodes" in text  # a machine too slow for two seconds


def test_a_gru_with_data_from_a_function(program, user):
    _, text, files = report(program, user, "gru", "nets.py:GRUClassifier", "circles:sequences", "--resolution", 60)
    assert "400 inputs of 16×2 from circles:sequences" in text and "test accuracy 100.0 %" in text
    on_the_line(user["gru"][0], files["boundary"])
    ridge, boundary = files["ridges-output"], files["boundary"]
    assert ridge.attrs["method"] == "newton" and float((ridge["status"] == 0).mean()) > 0.9
    # distances again, point by point: on a plane with orthonormal directions coordinates are lengths
    gaps = np.linalg.norm(ridge["position"].values[:, None] - boundary["position"].values[None], axis=2).min(1)
    told = re.search(
        r"half of the ridges? within ([0-9.]+) of the boundary; a cell of the field is ([0-9.]+) wide", text
    )
    assert float(told[1]) <= np.median(gaps) + 0.01 and float(told[1]) == pytest.approx(np.median(gaps), rel=0.6)
    rows = [re.search(rf"{way} ([0-9.]+) ([0-9.]+) ([0-9.]+)", text) for way in (
        "boundary to ridges at output", "ridges at output to boundary")]  # fmt: skip
    back, there = (float(row[2]) for row in rows)
    assert all(float(row[1]) <= float(row[2]) <= float(row[3]) for row in rows)
    assert back < 2 * float(told[2]), "two classes that are told apart well: the boundary is a ridge"
    words = "are the same lines here" if there <= 2 * float(told[2]) else "but there are ridges away from it"
    assert words in text and "to within two cells" in text


def test_what_cannot_be_used_is_one_message(program, user):
    arguments = ["nets.py:GRUClassifier", "--data", "circles:some", "-q", "--out", "none.html"]
    done = call(program, user["folder"], "report", *arguments, check=64)
    assert "circles:some, which needs the arguments count" in done.stderr
    assert done.stderr.count("\n") == 1 and not (user["folder"] / "none.html").exists()
