"""All members of one architecture trained as one computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from separatrix.ensembles import batches
from separatrix.ensembles.histories import Accuracy, Histories, Outcome, hits
from separatrix.ensembles.losses import Loss
from separatrix.ensembles.probe import members_per_chunk, probe
from separatrix.ensembles.products import Products
from separatrix.ensembles.seeding import Initialise, make_members
from separatrix.ensembles.stack import Stack
from separatrix.ensembles.vmapped import Vmapped
from separatrix.ensembles.weights import MakeOptimizer, Weights
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.systems.pairs import pair
from separatrix.systems.plain_layers import Plain, plain_layers

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Outcome", "Trained", "train"]

METHODS = ("auto", "products", "vmap")

MakeSchedule = Callable[[torch.optim.Optimizer], Any]
"""Takes the optimizer, gives a scheduler of ``torch.optim.lr_scheduler`` that is stepped after every epoch."""


@dataclass(frozen=True)
class Trained:
    """What :func:`train` returns.

    Attributes
    ----------
    stack : Stack
        All members as one module, in evaluation mode.
    history : xarray.Dataset
        ``loss`` and, where it is defined, ``accuracy`` with dimensions (member, time), time in epochs from 1: means
        over the epoch's batches, each before its step. With validation data ``validation_loss`` and
        ``validation_accuracy`` after each epoch. NaN after a member stopped. ``outcome`` (member) with flag meanings,
        ``epochs`` (member): how many each member trained, and ``seed`` (member).
    """

    stack: Stack
    history: xr.Dataset

    @property
    def members(self) -> list[nn.Module]:
        """Every member as an ordinary module, in evaluation mode."""
        return self.stack.members


@dataclass(frozen=True)
class _Task:
    """What all chunks of members have in common."""

    X: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor] | None
    loss: Loss
    optimizer: MakeOptimizer
    schedule: MakeSchedule | None
    epochs: int
    batch: int
    shuffle: str
    shuffle_seed: int
    until: float | None
    patience: int | None


def train(
    factory: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    *,
    seeds: Iterable[int],
    loss: Loss,
    optimizer: MakeOptimizer,
    epochs: int,
    batch_size: int,
    initialise: Initialise = "torch",
    shuffle: str = "shared",
    shuffle_seed: int = 0,
    validation: tuple[Tensor, Tensor] | None = None,
    schedule: MakeSchedule | None = None,
    accuracy: Accuracy = "auto",
    until_accuracy: float | None = None,
    patience: int | None = None,
    method: str = "auto",
    memory: int | float | str = "2GB",
    progress: Progress = False,
) -> Trained:
    """Train many networks of one architecture at once.

    Member by member the result is that of a loop with ``torch.optim``, to rounding.

    Parameters
    ----------
    factory : callable
        Builds one network; called once per seed, after ``torch.manual_seed(seed)``.
    data : (X, y)
        Inputs (n, ...) and targets (n, ...), as the network and the loss want them.
    seeds : iterable of int
        One member for each. A member depends on its own seed and on ``shuffle_seed``, not on who trains beside it.
    loss : callable
        Of (output, target), with one number as its value: ``torch.nn.functional.cross_entropy``, or a module.
    optimizer : callable
        Takes the parameters, gives an optimizer of ``torch.optim`` that treats every number alone:
        ``functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)``. It sees one tensor, (member, numbers).
    epochs : int
        How many times the data are gone through.
    batch_size : int
        Rows of a batch; the last one of an epoch may be smaller.
    initialise : {"torch", "glorot", "gaussian"} or callable
        Initial weights: the factory's own, Glorot's uniform (Keras), N(0, 1/fan-in) with biases 0 (Storm et al.), or a
        function that changes a module in place. See :mod:`separatrix.ensembles`.
    shuffle : {"shared", "private", "none"}
        One order of the rows for all members, one for each, or the order of the data. Shared orders are faster, because
        all members see the same batch; then members differ by their initial weights only. Shared orders are
        successive ``torch.randperm(n)`` of a generator seeded with ``shuffle_seed``, private ones of one seeded with
        the member's seed.
    shuffle_seed : int
        Seed of shared orders, and of dropout masks.
    validation : (X, y), optional
        Evaluated after every epoch.
    schedule : callable, optional
        Takes the optimizer, gives a learning-rate scheduler, which is stepped after every epoch.
    accuracy : {"auto"}, callable or None
        Share of rows that are right. ``"auto"``: the largest output for class numbers, the sign for one output with
        targets -1 and +1, otherwise none. A callable of (output, target) gives one boolean per row.
    until_accuracy : float, optional
        A member stops after the epoch in which its accuracy (of the validation data where given) reaches this share.
    patience : int, optional
        A member stops after so many epochs without a new least loss (of the validation data where given). Its weights
        are those of its last epoch.
    method : {"auto", "products", "vmap"}
        Batched matrix products for plain chains of linear layers and elementwise activations, ``torch.vmap`` for all
        others; what that cannot batch (torch's recurrent layers) takes the members in turn, which is not faster than
        a loop. The history names what was used.
    memory : int, float or str
        Budget of weights, gradients, optimizer memory and activations; members that do not fit beside one another are
        trained after one another.
    progress : bool or callable
        A bar on stderr, or a function of (done, total), in epochs.

    Returns
    -------
    Trained

    Raises
    ------
    ArgumentError
        For arguments that cannot be used; the message names the argument, what it got, and what to do.

    Notes
    -----
    A member whose loss or weights are no longer finite is marked ``diverged``, gets back the weights of its last finite
    epoch, and is left out from then on, like one that stopped early; the others go on undisturbed.

    Examples
    --------
    >>> import functools, torch, separatrix as sx
    >>> disc = sx.data.disc(2000)
    >>> def net():
    ...     return torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1))
    >>> trained = sx.ensembles.train(
    ...     net, (disc.X_train, disc.y_train[:, None]), seeds=range(5), loss=torch.nn.functional.mse_loss,
    ...     optimizer=functools.partial(torch.optim.Adam, lr=0.01), epochs=2, batch_size=100)
    >>> trained.history.loss.dims, len(trained.members)
    (('member', 'time'), 5)
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ArgumentError("seeds", "none", "give at least one seed")
    if len(set(seeds)) < len(seeds):
        raise ArgumentError("seeds", repr(seeds), "give every seed once: equal seeds give equal members")
    epochs, batch_size = whole("epochs", epochs, 1), whole("batch_size", batch_size, 1)
    if shuffle not in batches.ORDERS:
        raise ArgumentError("shuffle", repr(shuffle), f"choose from {', '.join(batches.ORDERS)}")
    if method not in METHODS:
        raise ArgumentError("method", repr(method), f"choose from {', '.join(METHODS)}")
    if patience is not None and patience < 1:
        raise ArgumentError("patience", repr(patience), "give a positive number of epochs, or None")
    X, y = pair("data", data)
    checked = None if validation is None else pair("validation", validation)
    members = make_members(factory, seeds, initialise)
    first = next(members[0].parameters(), None)
    if first is not None and X.is_floating_point():
        X, checked = X.to(first), None if checked is None else (checked[0].to(first), checked[1])
    task = _Task(
        X,
        y,
        checked,
        loss,
        optimizer,
        schedule,
        epochs,
        min(batch_size, len(X)),
        shuffle,
        shuffle_seed,
        until_accuracy,
        patience,
    )
    right = hits(accuracy, *probe(members[0], X, y, loss))
    layers = plain_layers(members[0], X) if method != "vmap" else None
    if method == "products" and layers is None:
        raise ArgumentError(
            "method", "'products'", "the network is no plain chain of linear layers and activations; use 'auto'"
        )
    if until_accuracy is not None and right is None:
        raise ArgumentError("until_accuracy", repr(until_accuracy), "these targets have no accuracy: give accuracy=")
    chunk = members_per_chunk(members[0], X, task.batch, parse_bytes(memory))
    histories = Histories(seeds, epochs, right, checked is not None)
    done: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad(), track(progress, epochs * len(seeds), "train") as advance:
        torch.manual_seed(shuffle_seed)
        for at in range(0, len(members), chunk):
            some, used = _train_chunk(members[at : at + chunk], layers, task, seeds, at, histories, advance)
            done += some
    history = histories.dataset(
        method=used,
        model=members[0],
        epochs=epochs,
        batch_size=batch_size,
        initialise=initialise if isinstance(initialise, str) else getattr(initialise, "__qualname__", str(initialise)),
        loss=getattr(loss, "__qualname__", str(loss)),
        optimizer=str(optimizer),
        shuffle=shuffle,
        shuffle_seed=shuffle_seed,
        until_accuracy=until_accuracy,
        patience=patience,
        memory=memory,
    )
    return Trained(Stack([member.eval() for member in done]), history)


def _train_chunk(
    members: list[nn.Module],
    layers: Plain | None,
    task: _Task,
    seeds: list[int],
    first: int,
    histories: Histories,
    advance: Callable[[int], None],
) -> tuple[list[nn.Module], str]:
    """Train some members side by side; rows ``first`` and on of the histories are theirs. Returns how, too."""
    stack = Stack(members)
    weights = Weights(stack, task.optimizer)
    scheduler = task.schedule(weights.optimizer) if task.schedule else None
    private = task.shuffle == "private"
    orders = batches.epochs(len(task.X), task.shuffle, seeds[first : first + len(stack)], task.shuffle_seed)
    with Products(layers, task.loss, len(stack)) if layers else Vmapped(stack.network, task.loss, task.batch) as route:
        for epoch, every in zip(range(task.epochs), orders, strict=False):
            order = every[weights.active] if private else every
            for at in range(0, len(task.X), task.batch):
                rows = order[..., at : at + task.batch]
                y = task.y[rows]
                losses, outputs = route.gradient(weights.state(), weights.slots(), task.X[rows], y, private)
                weights.optimizer.step()
                histories.add(losses, outputs, y, private)
            if scheduler is not None:
                scheduler.step()
            if task.validation is not None:
                X, y = task.validation
                histories.validate(route.outputs(weights.state(), X), y, task.loss)
            places = first + weights.active
            finite = histories.close(epoch, places) & weights.finite()
            weights.record(finite)
            ended = histories.stops(epoch, places, finite, task.until, task.patience)
            left = task.epochs - epoch - 1
            advance(len(places) + left * int(ended.sum()))
            if bool(ended.any()) and left:
                weights.keep(~ended)
            if not len(weights.active):
                break
    return weights.members(), route.method
