"""Peak memory stays within the budget, measured on a process of its own."""

import subprocess
import sys

import pytest

PEAK = r"""
import re
def peak():  # since the last reset; getrusage also remembers the program that started this one
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
def reset():
    open("/proc/self/clear_refs", "w").write("5")
    return peak()
"""

SCRIPT = (
    PEAK
    + """
import sys, torch
from torch import nn
import separatrix as sx
torch.set_num_threads(1)
torch.manual_seed(0)
name, budget = sys.argv[1], int(sys.argv[2]) * 10**6
if name == "mlp":
    model = nn.Sequential(nn.Linear(40, 300), nn.Tanh(), nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 40))
    x = torch.randn(1500, 40)
elif name == "reverse":
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 26 * 26, 10))
    x = torch.randn(600, 1, 28, 28)
else:
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.Flatten())
    x = torch.randn(60, 1, 12, 12)
sx.ftle(model, x[:2], memory=budget)
before = reset()
field = sx.ftle(model, x, memory=budget)
print(field.method, peak() - before - field.nbytes)
"""
)


@pytest.mark.parametrize(
    ("case", "budget", "method"), [("mlp", 60, "chain"), ("reverse", 60, "reverse"), ("forward", 60, "forward")]
)
def test_peak_memory(case, budget, method):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, case, str(budget)], capture_output=True, text=True, check=True, timeout=300
    )
    used, extra = done.stdout.split()
    assert used.startswith(method)
    assert 5e6 < int(extra) < budget * 10**6  # what is measured is seen


SLICE = (
    PEAK
    + """
import torch
import separatrix as sx
torch.set_num_threads(1)
data = torch.rand(20000, 1, 12, 12)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.Flatten())
sx.ftle(model, data[:2].clone(), method="forward")
before = reset()
sx.ftle(model, data[:2], method="forward")
print(peak() - before)
"""
)


def test_a_slice_of_a_data_set_does_not_bring_all_of_it_along():
    done = subprocess.run([sys.executable, "-c", SLICE], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 50e6
