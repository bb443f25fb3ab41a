"""Growth of perturbations of the weights, measured inside an ordinary training loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.results.integers import whole
from separatrix.tangent.batch_products import (
    BatchLoss,
    check_gradients,
    clipped,
    norm,
    rounding_of_gradients,
    tolerance,
    tolerance_of_differences,
)
from separatrix.tangent.bundles import Bundle, at_rounding, orthonormalise, random_bundle
from separatrix.tangent.optimizer_step import OptimizerStep

MODES = ("exact", "difference")
_SAVED = ("bundle", "logs", "error", "steps", "settings")


class Monitor:
    """Finite-time Lyapunov exponents of training while it runs, for any model and the optimizers of ``sx.optim``.

    ``step`` stands between ``loss.backward()`` and ``optimizer.step()``. It carries k perturbations of the weights, and
    of the optimizer's memory, through the derivative of the coming optimizer step. A product of derivatives needs steps
    that follow each other: to save cost, whole windows of consecutive steps are measured every so often, and nothing
    is said of the steps between.

    Parameters
    ----------
    model : torch.nn.Module
        In any mode, with parameters of float32 or float64. Layers that draw random numbers need
        :meth:`before_forward`.
    loss : callable
        Of (output, target): the one that the training loop takes the gradient of.
    optimizer : torch.optim.Optimizer
        SGD, Adam, AdamW or RMSprop, over the model's parameters; schedulers may change its rates.
    k : int
        How many perturbations: the k largest growth rates.
    window : int
        Consecutive steps that are measured together.
    every : int, optional
        From the begin of a window to that of the next; at least ``window``, which is the default.
    mode : "exact" or "difference"
        Hessian-vector products by differentiating twice, or from two gradients: cheaper, and an estimate whose error
        is measured against an exact product at the begin of every window.
    clip : float, optional
        The ``max_norm`` of ``torch.nn.utils.clip_grad_norm_``, where the loop clips. Call ``step`` before it does:
        what was clipped has lost the norm that the derivative of clipping needs.
    log_fn : callable, optional
        Of (dict, step), called at the end of every window.
    seed : int
        Of the first perturbations.

    Raises
    ------
    ArgumentError
        For settings out of range, optimizers without a map, half-precision parameters; and in :meth:`step` when the
        gradients are not those of the loss on the batch: clipped without ``clip=``, scaled by AMP, accumulated.

    Notes
    -----
    What is logged is the QR form: means over the window of the logarithms of the diagonal of R, per step, in the
    Euclidean norm of weights and memory together. The first window begins with random perturbations of the weights,
    each later one with the directions with which the last one ended. Cost for a step within a window and k = 1, in
    units of one forward and one backward pass: about 3 more exactly, 1 more by differences; memory of k (1 + parts)
    copies of the weights. Logarithms are added in float64; with float32 perturbations, rates below about 1e-7 per step
    mean nothing. A window in which something overflows or vanishes gives NaN or -inf, and the next one begins anew.
    ``singular_steps`` counts steps in which a diagonal entry of R was at most 64 eps (64 sqrt(eps) for differences), in
    the precision of the perturbations, times the largest one or 1, as where 1 / lr is an eigenvalue of the Hessian: the
    step removes a direction, the true rate may be -inf, and the smallest rates of that window are of rounding.

    Gradients of the loop are compared with the loss's own: exactly at every step; for differences at the first of a
    window, and again where products are more than twice the largest that were verified, as wrong gradients and kinks
    on the way make them; such steps, and the first, take exact products. Gradients have to agree to 1e-6 in float64 and
    1e-2 in float32, for differences to 1e-9 and 1e-4, or to what moving the weights by 64 eps changes. Compiled models,
    and those in ``DataParallel``, are looked at as what they were made of.
    Parameters without a gradient are left alone by the optimizer, and so are their perturbations. Gradients that change
    between ``step`` and the optimizer's step, by a clipping that the monitor was not told of, bring a warning, and the
    rest of the window is left out; a window that ends with that very step has been returned by then.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> loss, optimizer = torch.nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> monitor = sx.Monitor(model, loss, optimizer, window=5)
    >>> x = torch.randn(20, 2)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     loss(model(x), x[:, :1]).backward()
    ...     found = monitor.step((x, x[:, :1]))
    ...     optimizer.step()
    >>> sorted(found)
    ['first_step', 'steps', 'window_ftle']
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        *,
        k: Any = 1,
        window: Any = 50,
        every: Any = None,
        mode: str = "exact",
        clip: Any = None,
        log_fn: Any = None,
        seed: Any = 0,
    ) -> None:
        k, window, seed = whole("k", k, 1), whole("window", window, 1), whole("seed", seed, 0)
        every = window if every is None else whole("every", every, window)
        if mode not in MODES:
            raise ArgumentError("mode", repr(mode), f"one of {', '.join(MODES)}")
        if clip is not None and not (isinstance(clip, int | float) and clip > 0):
            raise ArgumentError("clip", repr(clip), "give the max_norm of the clipping, a positive number, or None")
        self.k, self.window, self.every, self.mode, self.clip, self.log_fn = k, window, every, mode, clip, log_fn
        self._batch_loss = BatchLoss(model, loss)
        self._optimizer_step = OptimizerStep(optimizer, self._batch_loss.parameters)
        total = sum(p.numel() for p in self._batch_loss.parameters)
        if k > total:
            raise ArgumentError("k", str(k), f"the first perturbations are of the weights, and there are {total}")
        self._seed = seed
        self._bundle: Bundle = random_bundle(self._batch_loss.parameters, k, self._optimizer_step.parts, seed)
        self._logs = torch.zeros(k, dtype=torch.float64)
        self._error = float("nan")
        self._verified, self._singular = 0.0, 0
        self._seen, self._open, self._first = 0, 0, 0
        self._taken = 0
        self._expected: int | None = None
        self._size: float | None = None
        self._hooks = [
            optimizer.register_step_pre_hook(self._compare),
            optimizer.register_step_post_hook(self._count),
        ]

    def before_forward(self) -> None:
        """Remember the state of the random generators; called before the forward pass of the training loop.

        Needed only where the model draws random numbers (dropout), so that the same masks can be drawn again; at every
        step, and once for all batches of an accumulation, before the first.
        """
        self._batch_loss.remember()

    def step(self, batch: Any) -> dict[str, float] | None:
        """Measure the coming optimizer step; called after ``backward`` and before clipping and ``optimizer.step``.

        Parameters
        ----------
        batch : (x, y) or [x, y], or list of these
            What the gradients are of: one batch, or several whose gradients were accumulated with loss / count.

        Returns
        -------
        dict or None
            At the last step of a window: ``window_ftle`` (``window_ftle_1`` ... for k > 1, the largest first;
            ``one_step_growth`` where the window is one step), per step in nats, ``first_step`` and ``steps`` of the
            window, and for differences ``product_error``, the relative error of the first product of the window. Where
            there are any, ``singular_steps``: see the notes. None otherwise.

        Raises
        ------
        ArgumentError
            If the gradients are not those of the loss on the batch, parameters were unfrozen, or a momentum was
            switched on or off since the monitor was made.
        """
        # what is kept from a call in inference mode could not be changed later
        with torch.inference_mode(False), torch.no_grad():
            try:
                return self._step(batch)
            finally:
                self._batch_loss.forget()

    def _step(self, batch: Any) -> dict[str, float] | None:
        number, place = self._seen, self._seen % self.every
        self._size = None
        if place == 0:
            self._open, self._first = 0, number
            if not bool(torch.isfinite(self._logs).all()):
                parts = self._optimizer_step.parts
                self._bundle = random_bundle(self._batch_loss.parameters, self.k, parts, self._seed + number)
            self._logs.zero_()
            self._verified, self._singular = 0.0, 0
        elif place >= self.window or self._open != place:
            self._seen += 1
            return None  # between windows, or in one that was interrupted
        elif self._taken != self._expected:
            made = self._taken - (self._expected or 0) + 1
            warnings.warn(
                f"the window from step {self._first} is left out: {made} optimizer steps between two calls of step()",
                SeparatrixWarning,
                stacklevel=3,
            )
            self._seen += 1
            return None
        self._carry(batch, check=place == 0)
        self._seen, self._open = number + 1, self._open + 1
        self._expected = self._taken + 1
        if place != self.window - 1:
            return None
        found = self._report()
        if self.log_fn is not None:
            self.log_fn(found, number)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that has to be saved with a checkpoint of the training."""
        return {
            "bundle": [[part.clone() for part in parts] for parts in self._bundle],
            "logs": self._logs.clone(),
            "error": self._error,
            "singular": self._singular,
            "steps": (self._seen, self._open, self._first),
            "settings": (self.k, self.window, self.every, self.mode, self.clip),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on from :meth:`state_dict`.

        Raises
        ------
        ArgumentError
            If it was made with other settings or another model, or by something else than a monitor.
        """
        settings = (self.k, self.window, self.every, self.mode, self.clip)
        missing = [name for name in _SAVED if not isinstance(state, dict) or name not in state]
        if missing:
            got = f"{type(state).__name__} without {', '.join(missing)}"
            raise ArgumentError("state", got, "give what state_dict() of a monitor returned")
        shapes = [[tuple(part.shape) for part in parts] for parts in self._bundle]
        if tuple(state["settings"]) != settings or shapes != [[tuple(p.shape) for p in q] for q in state["bundle"]]:
            got = f"a state with (k, window, every, mode, clip) = {tuple(state['settings'])}"
            raise ArgumentError("state", got, f"one of a monitor of the same model with {settings}")
        devices = [p.device for p in self._batch_loss.parameters]
        self._bundle = [
            [part.to(device).clone() for part in parts] for parts, device in zip(state["bundle"], devices, strict=True)
        ]
        self._logs = state["logs"].clone()
        self._error = state["error"]
        # by differences, the next step verifies the gradients of the loop that goes on
        self._verified, self._singular = 0.0, state.get("singular", 0)
        self._seen, self._open, self._first = state["steps"]
        self._expected = self._taken

    def close(self) -> None:
        """Take the monitor's hooks off the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def _count(self, *_: Any) -> None:
        self._taken += 1
        self._size = None

    def _compare(self, *_: Any) -> None:
        """Warn where the optimizer takes other gradients than those that were measured, by their norm."""
        size, self._size = self._size, None
        if size is None:
            return
        found = [p.grad for p in self._batch_loss.parameters if p.grad is not None]
        now = norm(found) if found else 0.0
        if not (math.isfinite(size) and math.isfinite(now)) or abs(now - size) <= tolerance(found) * size:
            return
        clip = "clip= is the max_norm of the loop" if self.clip is not None else "where the loop clips, give clip="
        warnings.warn(
            f"the window from step {self._first} is not that of this training: the gradients had norm {size:.3g} when "
            f"it was measured and {now:.3g} when the optimizer took its step; {clip}",
            SeparatrixWarning,
            stacklevel=3,
        )
        self._open = -1

    def _carry(self, batch: Any, *, check: bool) -> None:
        """One step: products with the Hessian, the optimizer's derivative, QR."""
        pair = isinstance(batch, tuple) or (
            # as a DataLoader gives it
            isinstance(batch, list) and len(batch) == 2 and not any(isinstance(part, tuple | list) for part in batch)
        )
        batches = [tuple(batch)] if pair else [tuple(b) if isinstance(b, list) else b for b in batch]
        self._optimizer_step.refuse_other_parts()
        vectors = [parts[0] for parts in self._bundle]
        given, still = self._gradients()
        size = norm(given)
        if self.mode == "exact":
            gradients, products = self._batch_loss.products(batches, vectors)
            self._check(given, gradients, vectors, products)
        else:
            gradients, products = given, self._differences(batches, vectors, given, check=check)
        if self.clip is not None:
            gradients, products = clipped(gradients, products, self.clip)
        self._optimizer_step.move(self._bundle, gradients, products, still)
        self._size = size if self.clip is None else size * min(1.0, self.clip / (size + 1e-6))
        self._bundle, diagonal = orthonormalise(self._bundle)
        self._logs += diagonal.log() if math.isfinite(size) else math.nan
        self._singular += at_rounding(diagonal, self._precision(vectors[0].dtype))

    def _precision(self, dtype: torch.dtype) -> float:
        """What entries of R mean nothing below."""
        eps = torch.finfo(dtype).eps
        return 64 * (eps if self.mode == "exact" else eps**0.5)

    def _check(
        self, given: list[Tensor], own: list[Tensor], vectors: list[Tensor], products: list[Tensor], near: Any = None
    ) -> None:
        weights = self._batch_loss.parameters

        def rounding() -> float:
            return rounding_of_gradients(weights, _stretch(products, vectors))

        check_gradients(given, own, self.clip, near, rounding)

    def _differences(
        self, batches: list[Any], vectors: list[Tensor], given: list[Tensor], *, check: bool
    ) -> list[Tensor]:
        """Products from differences of gradients, and exact ones where those grow, as faults and kinks make them."""
        estimated, largest = self._batch_loss.differences(batches, vectors, given)
        if not check and not largest > 2 * self._verified:
            return estimated
        own, products = self._batch_loss.products(batches, vectors)
        self._check(given, own, vectors, products, tolerance_of_differences(given))
        self._verified = max(self._verified, _stretch(products, vectors))
        if check:
            self._error = _relative(estimated, products)
        return products

    def _gradients(self) -> tuple[list[Tensor], list[bool]]:
        """Gradients of the loop, zero where there is none, and where that is."""
        parameters = self._batch_loss.parameters
        still = [p.grad is None for p in parameters]
        if all(still):
            remedy = "call step after loss.backward(), and before optimizer.step()"
            raise ArgumentError("batch", "no gradients on the parameters", remedy)
        return [torch.zeros_like(p) if p.grad is None else p.grad.detach() for p in parameters], still

    def _report(self) -> dict[str, float]:
        rates = (self._logs / self.window).sort(descending=True).values.tolist()
        name = "window_ftle" if self.window > 1 else "one_step_growth"
        found = {name: rates[0]} if self.k == 1 else {f"{name}_{i}": rate for i, rate in enumerate(rates, 1)}
        found |= {"first_step": self._first, "steps": self.window}
        if self._singular:
            found["singular_steps"] = self._singular
        return found | ({"product_error": self._error} if self.mode == "difference" else {})


def _stretch(products: Sequence[Tensor], vectors: Sequence[Tensor]) -> float:
    """The largest |H v| / |v|."""
    sizes = [(norm([h[j] for h in products]), norm([v[j] for v in vectors])) for j in range(len(vectors[0]))]
    return max(h / v if v else 0.0 for h, v in sizes)


def _relative(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    apart = sum(float((a - b).double().square().sum()) for a, b in zip(found, exact, strict=True))
    size = sum(float(b.double().square().sum()) for b in exact)
    return (apart / size) ** 0.5 if size else float("nan")
