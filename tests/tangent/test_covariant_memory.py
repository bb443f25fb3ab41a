"""Memory of covariant runs: within the budget, measured in a process of its own, and with the root of the length."""

import subprocess
import sys

import pytest

from separatrix.results.errors import ArgumentError
from separatrix.tangent.checkpoints import Sizes, segment_length

SCRIPT = """
import resource, torch
from separatrix.systems.protocol import System
from separatrix.tangent.covariant import covariant
torch.set_num_threads(1)
N = 100

class Damped(System):
    rates = torch.linspace(1.2, 0.2, N, dtype=torch.float64)
    def dim(self, t=0):
        return N
    def step(self, state, t):
        return state * self.rates
    def tangent(self, state, V, t):
        return self.step(state, t), V * self.rates

def run(steps, budget):
    return covariant(Damped(), torch.zeros(N).double(), steps=steps, k=40, spinup=0, spindown=0, vectors=steps // 2,
                     memory=budget)

def top():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

run(100, 10**9)
# filled up to the peak that importing left behind, so that the next byte shows
before, ballast = top(), []
while top() == before:
    ballast.append(torch.ones(2**17, dtype=torch.float64))
for budget in (6 * 10**6, 10**9):
    before = top()
    found = run(700, budget)
    print(found.attrs["method"], found.attrs["segment"], top() - before)
"""


def test_peak_memory_of_a_long_run_is_within_its_budget():
    # its frames take 23 MB, and its triangular factors alone 9 MB
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=300)
    (method, segment, extra), (other, _, plenty) = map(str.split, done.stdout.splitlines())
    assert method.endswith("replayed") and 10 < int(segment) < 40
    assert other.endswith("held") and int(plenty) > 7e6  # what is measured is seen
    assert int(extra) < 6e6


def test_memory_grows_with_the_root_of_the_length():
    def held(steps, budget):
        sizes = Sizes(checkpoint=10_000, step=100, work=600, most=10**9, other=5_000, steps=steps)
        length = segment_length(sizes, budget)
        return length, sizes.held(length)

    assert held(1000, 10**9)[0] == 1000  # what fits is held
    long, longer = held(10_000, 1_000_000)[1], held(1_000_000, 10_000_000)[1]
    assert 9.5 < longer / long < 10.5
    best = min(Sizes(10_000, 100, 600, 10**9, 5_000, 10_000).held(n) for n in range(1, 10_000))
    assert long <= 1.02 * best
    with pytest.raises(ArgumentError, match=r'^memory: got a budget of 400,000 bytes; .* give memory="1MB"'):
        held(10_000, 400_000)
    assert held(3, 10_000 * 3)[0] == 3
