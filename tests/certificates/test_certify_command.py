"""The command: words, files and exit codes, in a process of its own."""

import subprocess
import sys

import pytest

MODELS = """
import torch, separatrix as sx
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
def loop():
    return sx.Loop(lambda x: torch.tanh(2 * x), dim=1)
opaque = sx.Map(lambda x: torch.softmax(x, -1), dim=2)
def broken():
    return sx.Map(fails, dim=1)
def fails(x):
    raise OSError("the user's own error")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("certify")
    (place / "mine.py").write_text(MODELS)
    return place


def call(folder, *arguments):
    command = [sys.executable, "-m", "separatrix", "certify", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("mine.py:net", "contraction", "--out", "proof.json"), 0, "certified: |f(x) - f(y)| <= "),
        (("mine.py:loop", "stability"), 1, "refuted: it is not true that one equilibrium"),
        (("mine.py:opaque", "contraction"), 2, "unknown: "),
        (("mine.py:loop", "stability", "--at=0.95", "--box=0.1:2"), 0, "attracts every start in the region"),
        (("mine.py:loop", "stability", "--at", "zero"), 64, "joined by commas"),
        (("mine.py:net", "stable"), 64, "one of contraction"),
        (("mine.py:net",), 64, "statement"),
        (("mine.py:net", "contraction", "--colour"), 64, "No such option"),
        ((), 64, "Missing argument"),
        (("mine.py:net", "contraction", "--budget", "soon"), 64, "budget"),
        (("mine.py:missing", "contraction"), 64, "missing"),
        (("mine.py:broken", "contraction"), 70, "the user's own error"),
    ],
)
def test_exit_codes_are_answers(folder, arguments, code, words):
    done = call(folder, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr


def test_certificates_are_checked_from_the_shell(folder):
    call(folder, "mine.py:net", "contraction", "--out", "kept.json")
    good = call(folder, "mine.py:net", "--check", "kept.json")
    assert good.returncode == 0
    assert "verified anew" in good.stdout
    other = call(folder, "mine.py:loop", "--check", "kept.json")
    assert other.returncode == 2
    assert "not verified" in other.stdout
