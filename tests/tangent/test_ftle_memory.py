"""Peak memory stays within the budget, measured on a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
import separatrix as sx
torch.set_num_threads(1)
torch.manual_seed(0)
name, budget = sys.argv[1], int(sys.argv[2]) * 10**6
if name == "mlp":
    model, x, opts = torch.nn.Sequential(torch.nn.Linear(40, 300), torch.nn.Tanh(), torch.nn.Linear(300, 300), torch.nn.Tanh(),
                                   torch.nn.Linear(300, 40)), torch.randn(1500, 40), dict(layers="output", k=1)
elif name == "reverse":
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 26 * 26, 10))
    x, opts = torch.randn(600, 1, 28, 28), dict(layers="output", k=1)
else:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 8, 3), torch.nn.Flatten())
    x, opts = torch.randn(60, 1, 12, 12), dict(layers="output", k=1)
sx.ftle(model, x[:2], memory=budget, **opts)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
field = sx.ftle(model, x, memory=budget, **opts)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(field.method, peak - before - field.nbytes)
"""


@pytest.mark.parametrize(
    ("case", "budget", "method"), [("mlp", 60, "chain"), ("reverse", 60, "reverse"), ("forward", 60, "forward")]
)
def test_peak_memory(case, budget, method):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, case, str(budget)], capture_output=True, text=True, check=True, timeout=300
    )
    used, extra = done.stdout.split()
    assert used.startswith(method)
    assert int(extra) < budget * 10**6
