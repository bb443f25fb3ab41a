"""The callback of the documentation, run by a small trainer that calls the hooks in Lightning's order."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import separatrix as sx

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def callback():
    """The class that the page shows."""
    blocks = [b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "class WeightGrowth" in b]
    assert len(blocks) == 1 and blocks[0][blocks[0].index("class ") :].count("\n") <= 25
    space = {}
    exec(blocks[0], space)
    return space["WeightGrowth"]


class Logger:
    def __init__(self):
        self.seen = []

    def log_metrics(self, metrics, step):
        self.seen.append((step, metrics))


class Trainer:
    """Forward and backward are in the closure of the optimizer's step; unscaling and clipping come before it moves."""

    def __init__(self, module, hooks, accumulate=1, clip=None, scale=1.0):
        self.module, self.hooks, self.accumulate, self.clip, self.scale = module, hooks, accumulate, clip, scale
        self.logger, self.optimizers = Logger(), []

    def fit(self, batches, restored=None):
        if restored:
            self.hooks.load_state_dict(restored)
        self.optimizers = [torch.optim.SGD(self.module.parameters(), lr=0.1, momentum=0.9)]
        self.hooks.on_train_start(self, self.module)
        for i, batch in enumerate(batches):
            self.hooks.on_train_batch_start(self, self.module, batch, i)
            first, last = i % self.accumulate == 0, (i + 1) % self.accumulate == 0

            def closure(batch=batch, first=first, last=last):
                if first:
                    self.optimizers[0].zero_grad()
                value = nn.functional.mse_loss(self.module(batch[0]), batch[1]) / self.accumulate
                (self.scale * value).backward()
                if last:
                    for p in self.module.parameters():
                        p.grad /= self.scale
                    self.hooks.on_before_optimizer_step(self, self.module, self.optimizers[0])
                    if self.clip:
                        nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
                return value

            if last:
                self.optimizers[0].step(closure)
            else:
                with torch.enable_grad():
                    closure()


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.2), nn.Tanh(), nn.Linear(4, 1)).double()


def loader(count=12):
    generator = torch.Generator().manual_seed(1)
    # lists, as a DataLoader gives them
    return [[torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (2, 1)] for _ in range(count)]


def by_hand(accumulate=1, clip=None, **options):
    model, batches = module(), loader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = sx.Monitor(model, nn.functional.mse_loss, optimizer, clip=clip, **options)
    found = []
    for begin in range(0, len(batches), accumulate):
        optimizer.zero_grad()
        monitor.before_forward()
        part = [tuple(batch) for batch in batches[begin : begin + accumulate]]
        for x, y in part:
            (nn.functional.mse_loss(model(x), y) / accumulate).backward()
        found.append(monitor.step(part))
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return [f for f in found if f]


@pytest.mark.parametrize(
    "setup",
    [{}, {"accumulate": 3}, {"clip": 0.1}, {"scale": 1024.0}],
    ids=["plain", "accumulated", "clipped", "scaled"],
)
def test_the_callback_gives_what_a_loop_by_hand_gives(setup):
    options = {"window": 2, "k": 2}
    clip = {"clip": setup["clip"]} if "clip" in setup else {}
    wanted = by_hand(setup.get("accumulate", 1), **clip, **options)
    hooks = callback()(nn.functional.mse_loss, **options, **clip)
    trainer = Trainer(module(), hooks, **setup)
    trainer.fit(loader())
    assert [metrics["first_step"] for _, metrics in trainer.logger.seen] == [f["first_step"] for f in wanted]
    for (step, metrics), other in zip(trainer.logger.seen, wanted, strict=True):
        assert step == metrics["first_step"] + 1
        assert metrics["window_ftle_1"] == pytest.approx(other["window_ftle_1"], rel=1e-9)
        assert metrics["window_ftle_2"] == pytest.approx(other["window_ftle_2"], rel=1e-9)


def test_the_callback_is_saved_and_goes_on():
    make, net = callback(), module()
    hooks = make(nn.functional.mse_loss, window=4)
    assert hooks.state_dict() == {}
    Trainer(net, hooks).fit(loader()[:6])
    again = make(nn.functional.mse_loss, window=4)
    trainer = Trainer(net, again)
    trainer.fit(loader()[6:], restored=hooks.state_dict())
    # the window from step 4 goes on over the break
    assert [metrics["first_step"] for _, metrics in trainer.logger.seen] == [4, 8]
