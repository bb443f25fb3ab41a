"""A copy of the model, trained further, and the exponents of that."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.report.answers import outputs
from separatrix.report.context import Context, name_of
from separatrix.report.one_exponent import one_exponent
from separatrix.report.training_recipe import OPTIMIZERS, Recipe, fitting, of_output, refuse_without_weights
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import track
from separatrix.results.provenance import provenance
from separatrix.systems.batches import Batches
from separatrix.systems.guest import Guest
from separatrix.systems.training import Training
from separatrix.tangent.lyapunov import lyapunov
from separatrix.tangent.monitor import Monitor
from separatrix.tangent.sharpness import sharpness

if TYPE_CHECKING:
    import xarray as xr

STABLE = {"sgd": 2.0, "heavy-ball": 2 * 1.9, "nesterov": 2 * 1.9 / 2.8}
"""Rate times curvature at which a quadratic loss is no longer brought down: 2, 2 (1 + b), 2 (1 + b) / (1 + 2 b)."""
LARGE = 100_000
"""Trained weights from which on one perturbation is carried along an ordinary training loop, in its precision."""
MOST, LEAST, ENOUGH = 500, 8, 100
"""Steps at most and at least where none are asked for, and from which on smaller batches are not tried."""
WARM = 20
"""Steps that fill an optimizer's memory before exponents begin: dividing by an empty one is nearly discontinuous."""
ROWS = 2000
"""Rows up to which a step sees all of them by default."""
BATCHES = (256, 64, 16)
SWITCHED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
"""Parts that behave differently in training."""
K = 5
PART = 0.4
"""Share of the time for a field that the exponents may take."""
RECORDS = 1000
PRODUCTS = 100
"""Products with the Hessian in which an iteration usually finds that eigenvalue."""


def followed(context: Context, asked: Recipe, *, large: int = LARGE) -> tuple[xr.Dataset, list[str]]:
    """Train a copy of the model further, and measure the exponents of that.

    Parameters
    ----------
    context : Context
    asked : Recipe
    large : int
        Trained weights from which on a monitor follows an ordinary training loop.

    Returns
    -------
    Dataset
        As of :func:`separatrix.lyapunov`, with ``loss`` (member, time) of each step's batch before the step. For large
        models the largest exponent alone.
    list of str
        What the reader should know of the copy and the data.

    Raises
    ------
    ArgumentError
        If the model has no weights, cannot be trained as a system, or does not fit the loss, or memory does not
        suffice.
    """
    guest = Guest(context.model)
    refuse_without_weights(context.model)
    with guest.visit():
        model, notes = _copied(guest.module)
        X, y, chosen = _data(context, asked.loss)
        loss = of_output(asked.loss, context.options.output)
        run = _Run(context, asked, loss, model, (X, y))
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return run.alone() if count >= large else run.whole(), notes + chosen


def _copied(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Copy to be trained, and what had to be changed in it."""
    twin, notes = copy.deepcopy(model).eval(), []
    if any(isinstance(part, SWITCHED) for part in twin.modules()):
        notes.append(
            "The copy is trained in evaluation mode: dropout is off, and running statistics of normalisation stay as "
            "they are."
        )
    half = {p.dtype for p in twin.parameters()} & {torch.float16, torch.bfloat16}
    if half:
        twin = twin.float()
        notes.append("The weights are stored in half precision; the copy is trained in a wider one.")
    trained = [p for p in twin.parameters() if p.requires_grad]
    for p in twin.parameters():
        p.grad = None
        if not trained and p.is_floating_point():
            p.requires_grad_()
    if not trained:
        notes.append("None of the model's weights is set to be trained; in the copy that is trained all of them are.")
    return twin, notes


def _data(context: Context, loss: Callable[..., Any]) -> tuple[Tensor, Tensor, list[str]]:
    """Training inputs and targets, as many as a quarter of the memory holds, and a note where that is not all."""
    X, problem = context.problem.X_train, context.problem
    out = outputs(context.model, X[:2], context.options)
    y, notes = fitting(loss, out, problem), []
    given = problem.y_train
    assert given is not None
    if y.numel() != given.numel():
        notes.append(f"For {name_of(loss)} each class number became a row of zeros with a one for its class.")
    elif problem.classes and y.double().flatten().ne(given.double().flatten()).any():
        notes.append(f"For {name_of(loss)} the targets became the numbers of their classes, from 0.")
    most = max(1, parse_bytes(context.options.memory) // (4 * 8 * (X[0].numel() + y[0].numel())))
    if len(X) <= most:
        return X, y, notes
    rows = torch.from_numpy(np.random.default_rng(context.options.seed).permutation(len(X))[:most])
    notes.append(f"The memory allowed for {most:,} of the {len(X):,} training inputs, chosen at random.")
    return X[rows], y[rows], notes


@dataclass
class _Run:
    """One training of a copy, and the two ways to follow it."""

    context: Context
    recipe: Recipe
    loss: Callable[[Any, Tensor], Tensor]
    model: nn.Module
    data: tuple[Tensor, Tensor]

    @property
    def allowed(self) -> float:
        """Seconds for the exponents."""
        return PART * self.context.options.seconds

    @property
    def warm(self) -> int:
        """Steps before the exponents begin."""
        return 0 if self.recipe.optimizer == "sgd" else WARM

    def optimizer(self) -> torch.optim.Optimizer:
        """An optimizer of torch with an empty memory."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return OPTIMIZERS[self.recipe.optimizer][2](trained, lr=self.recipe.rate)

    def whole(self) -> xr.Dataset:
        """Exponents of weights and memory together, in float64, all batches of a size that time and memory allow."""
        options = self.context.options
        system, batch, steps, each = self._affordable()
        first = state = system.state_of()
        k = min(K, options.k, system.count)
        every = -(-steps // RECORDS)
        window = max(1, steps // 20 // every) * every
        ds = lyapunov(
            system, state, steps=steps, k=k, transient=self.warm, every=every, window=window, seed=options.seed,
            memory=options.memory, progress=self.context.progress,
        )  # fmt: skip
        times = ds["time"].values
        losses = np.full((1, len(times)), np.nan)
        for t in range(self.warm + int(ds["last_step"][0])):
            place = int(np.searchsorted(times, t + 1 - self.warm))
            if t == self.warm:
                first = state
            if t >= self.warm and times[place] == t + 1 - self.warm:
                losses[0, place] = float(system.loss(state, t)[0])
            state = system.step(state, t)
        ds["loss"] = (("member", "time"), losses, {"long_name": "loss of a step's batch, before the step"})
        self._describe(ds, batch, system.count, self.warm)
        if batch == len(self.data[0]) and self.recipe.optimizer in STABLE:
            ds.attrs["stable_sharpness"] = STABLE[self.recipe.optimizer] / self.recipe.rate
        if "stable_sharpness" in ds.attrs and PRODUCTS * each <= self.allowed:
            ds.attrs["sharpness_first"] = float(sharpness(system, first, seed=options.seed)["sharpness"][0, 0])
            ds.attrs["sharpness_last"] = float(sharpness(system, state, seed=options.seed)["sharpness"][0, 0])
        return ds

    def alone(self) -> xr.Dataset:
        """Largest exponent by one perturbation along an ordinary training loop, in the model's precision."""
        options, total = self.context.options, self.recipe.steps or MOST
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        # the copy, gradients, a product, at most two memories, three parts of a perturbation and their new values
        need = 12 * sum(p.numel() * p.element_size() for p in parameters)
        if need > parse_bytes(options.memory):
            remedy = f'training holds about {need:,} bytes beside its activations: give memory="{-(-need // 10**6)}MB"'
            raise ArgumentError("memory", repr(options.memory), remedy)
        rows = len(self.data[0])
        size = min(self.recipe.batch or BATCHES[1], rows)
        order = options.seed if size < rows else None
        batches = Batches(self.data, size, order, True, parameters[0].dtype, parameters[0].device)
        optimizer = self.optimizer()
        monitor = Monitor(self.model, self.loss, optimizer, window=1, seed=options.seed)
        torch.manual_seed(options.seed)  # inside of visit(): the caller's generator is put back
        began, losses, growth, warm = time.perf_counter(), [], [], 0
        with track(self.context.progress, self.warm + total, "train further") as tell:
            for t in range(self.warm + total):
                X, y = batches.at(t)
                optimizer.zero_grad()
                monitor.before_forward()
                value = self.loss(self.model(X.clone()), y)
                value.backward()
                reached = float(value.detach())
                if t >= self.warm or not math.isfinite(reached):
                    found = monitor.step((X, y)) if math.isfinite(reached) else None
                    losses.append(reached)
                    growth.append(math.nan if found is None else found["one_step_growth"])
                    late = self.recipe.steps is None and time.perf_counter() - began > self.allowed
                    if math.isnan(growth[-1]) or (late and len(losses) >= LEAST):
                        break
                else:
                    warm += 1
                optimizer.step()
                tell(1)
        monitor.close()
        ds = one_exponent(np.array(growth), np.array(losses), max(1, len(growth) // 20))
        ds.attrs["precision"] = str(parameters[0].dtype).removeprefix("torch.")
        ds.attrs["provenance"] = provenance("Monitor", model=self.model, window=1, seed=options.seed)
        self._describe(ds, size, sum(p.numel() for p in parameters), warm)
        return ds

    def _describe(self, ds: xr.Dataset, batch: int, weights: int, warm: int) -> None:
        asked = self.recipe
        ds.attrs |= {
            "loss": name_of(asked.loss), "optimizer": asked.optimizer, "rate": asked.rate, "batch": batch,
            "rows": len(self.data[0]), "weights": weights, "warm": warm,
        }  # fmt: skip

    def _affordable(self) -> tuple[Training, int, int, float]:
        """System with batches that time and memory allow, their size, steps, and seconds for one product."""
        rows, options = len(self.data[0]), self.context.options
        sizes = [rows if rows <= ROWS else BATCHES[0], *(size for size in BATCHES if size < min(rows, ROWS))]
        if self.recipe.batch is not None:
            sizes = [min(self.recipe.batch, rows)]
        for size in sizes:
            cut: dict[str, Any] = {} if size == rows else {"batch_size": size, "shuffle_seed": options.seed}
            try:
                # one member alone: the dense Hessians of "blocks" would take time and memory in vain
                system = Training(
                    self.model, self.loss, self.data, self.optimizer(), method="loop", memory=options.memory, **cut
                )
                k = min(K, options.k, system.count)
                trial = partial(lyapunov, system, system.state_of(), k=k, memory=options.memory)
                each = math.inf
                for _ in range(2):  # the first one pays for what is set up once
                    began = time.perf_counter()
                    trial(steps=1)
                    each = min(each, time.perf_counter() - began)
                    if each * ENOUGH > 3 * self.allowed:
                        break
            except ArgumentError as error:
                # smaller batches need less
                if error.argument != "memory" or size == sizes[-1]:
                    raise
                continue
            fit = MOST if self.allowed == math.inf else int(self.allowed / each)
            if self.recipe.steps is not None or fit >= ENOUGH:
                break
        return system, size, self.recipe.steps or min(max(fit, LEAST), MOST), each / k
