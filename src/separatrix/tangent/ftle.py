"""Finite-time Lyapunov exponents of a network along depth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import torch
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack
from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.results.integers import integer, whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.systems.guest import Guest, Output
from separatrix.systems.listing import Anatomy, Layer, anatomy, prepare
from separatrix.tangent.field import Field
from separatrix.tangent.field_dataset import dataset
from separatrix.tangent.inputs import Plane, Points, as_inputs
from separatrix.tangent.plan import Plan, Problem, plan
from separatrix.tangent.run import compute, repair
from separatrix.tangent.selfcheck import verified
from separatrix.tangent.spectrum import Wanted

if TYPE_CHECKING:
    import xarray as xr


def ftle(
    model: nn.Module | Callable[..., Any],
    inputs: Tensor | Plane | Any,
    *,
    layers: str | Sequence[str] = "output",
    output: Output = None,
    start: str | None = None,
    k: SupportsIndex | Literal["all"] = 1,
    directions: bool = False,
    scale: Any = None,
    duration: float | Sequence[float] | None = None,
    method: str = "auto",
    memory: int | float | str = "512MB",
    verify: int = 0,
    progress: Progress = False,
) -> xr.Dataset:
    """Compute finite-time Lyapunov exponents of a network along depth.

    With J_l(x) the Jacobian of layer l with respect to the input, the i-th *stretch* is ln sigma_i(J_l(x)), and the
    i-th finite-time exponent is lambda_i = (1/l) ln sigma_i(J_l(x)) (Storm et al., Phys. Rev. Lett. 132, 057301 (2024),
    eq. 2 ff.). Perturbations along the leading right singular direction grow most.

    Parameters
    ----------
    model : nn.Module or callable
        The network, in evaluation mode if it has dropout or batch statistics. It is left exactly as it was. The members
        of a :class:`separatrix.ensembles.Stack` are the ``member`` dimension of the result.
    inputs : Tensor (points, *input shape), sx.grid(...) or sx.plane(...)
        Where to compute. Points are moved to the model's device and precision.
    layers : str or list of str
        ``"output"``; ``"hidden"``: the end of every hidden layer that all of the signal passes through (a weight layer
        with its normalisation and activation counts once); ``"all"``: every layer's end, also where another path leads
        around it, and the output; or labels as listed by :func:`separatrix.layers`.
    output : callable, str or int, optional
        Applied to what the model returns: a function such as a softmax, or a key into a dict or tuple.
    start : str, optional
        Label of the call whose value is perturbed instead of the input, such as ``"embedding#1"``.
    k : int or "all"
        How many exponents, largest first.
    directions : bool
        Also return the right (input) and left (layer) singular directions.
    scale : float, sequence, Tensor or "std", optional
        Unit of each input coordinate: stretch is measured for perturbations scale * v. ``"std"`` takes the standard
        deviation of each coordinate over ``inputs``. A coordinate with scale 0 is not perturbed.
    duration : float or sequence of float, optional
        Divisor of the exponent; by default the number of weight layers from the input to each layer.
    method : str
        ``"auto"`` chooses; or ``"chain-forward"``, ``"chain-reverse"``, ``"chain-graded"`` (plain multilayer networks),
        ``"forward"``, ``"reverse"``, ``"loop"`` (any module), ``"lanczos"`` (the leading few of many inputs and many
        outputs, without the Jacobian; see Notes). The result names what was used.
    memory : int or str
        Budget in bytes for everything but the result, such as ``"512MB"``.
    verify : int
        Check this many random points in float64 by central differences along v_1.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        ``stretch`` (nat), ``exponent`` (1/layer) and ``status`` with dimensions (member, layer, point or x and y,
        index); coordinates ``duration``, ``cut`` and ``width`` of each layer. On grids and planes also ``gap``, the
        difference of the two largest stretches, and ``direction``, the leading right direction in the plane's
        coordinates (without sign). With ``directions``: ``right`` (..., index, input) and ``left`` (..., index, state),
        padded with NaN. Directions are unit vectors in units of ``scale``. With the method ``"lanczos"``: ``residual``
        and ``converged`` (see Notes).

    Raises
    ------
    ArgumentError
        For input that cannot be used; the message names the argument, what it got, and what to do.

    Notes
    -----
    The limit of the cost is (1 + d) forward passes for d inputs, or 1 + m passes for m outputs. Points whose smaller
    singular values drown in rounding are computed again in float64. What still cannot be believed has a ``status``.

    ``"lanczos"`` is a block Golub-Kahan iteration with k rows, by products with the Jacobian and its transpose
    (:mod:`separatrix.tangent.lanczos`). ``residual`` is sqrt((|J v - s u|^2 + |J' u - s v|^2) / 2) / s, measured at the
    end: the Jacobian has a singular value sigma with |sigma / s - 1| <= residual, wherever that is below 1. That it is
    the one of this index, and that none was left out, is likely and not proved. ``converged`` says that the residual is
    at most 1e-6 (1e-4 in float32), or that the value is below what the arithmetic resolves; a number that has not
    converged has the status ``unconverged``, and NaN has never converged. It is chosen by itself where the Jacobians do
    not fit into the budget, and for k up to 8 where they take many times more passes. The smallest exponents are not to
    be had in this way.

    With the ``chain`` methods all members of a stack are one computation, on the weights as the stack holds them; the
    others take one member after another, and so does ``verify``.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1))
    >>> field = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=(50, 50)), layers="all")
    >>> field.stretch.dims
    ('member', 'layer', 'x', 'y', 'index')
    """
    budget, verify = parse_bytes(memory), whole("verify", verify, 0)
    where = as_inputs(inputs, tokens=start is not None)
    stack = model if isinstance(model, Stack) else None
    guest = _guest(model if stack is None else stack[0], where, output, start)
    with guest.visit():
        seen, coupled = _probe(guest, where)
        chosen = seen.select(list(layers) if not isinstance(layers, str) else layers)
        units = _scale(scale, where, guest, seen.entry[0].numel(), start)
        problem = Problem(guest, seen, chosen, units, Wanted(), budget, stack)
        most = max(problem.ranks)
        count = most if k == "all" else integer(k)
        if count is None or not 1 <= count <= most:
            raise ArgumentError("k", repr(k), f'these layers have {most} exponents: give 1 to {most}, or "all"')
        vectors = count if directions else int(isinstance(where, Plane))
        few = min(most, max(count, 2)) if isinstance(where, Plane) else count
        problem = replace(problem, wanted=Wanted(vectors, left=directions, values=few))
        if method == "lanczos" and (k == "all" or count > max(1, most // 2)):
            remedy = f"that finds the leading ones: give 1 to {max(1, most // 2)}, or another method for the smallest"
            raise ArgumentError("k", f"{k!r} with method='lanczos'", remedy)
        route = plan(problem, method, coupled=coupled)
        if route.method == "loop" and method == "auto":
            why = "its forward pass branches on values" if seen.trace.branches else "its points influence one another"
            warnings.warn(f"one point at a time, which is slow: {why}", SeparatrixWarning, stacklevel=2)
        field = Field(where, problem, count, directions, _durations(duration, chosen))
        with track(progress, field.pairs, "ftle") as advance:
            used = compute(problem, route, method == "auto", where, field, advance)
        redone = repair(problem, used, where, field)
        checked = _checked(problem, used, where, field, verify)
    if not field.complete():
        raise RuntimeError("a layer of some points was not computed")
    return dataset(
        field,
        model,
        method=used.method,
        recomputed=redone,
        checked=checked,
        settings={
            "layers": layers if isinstance(layers, str) else list(layers),
            "output": None if output is None else str(output),
            "start": start,
            "k": k if k == "all" else count,
            "scale": None if scale is None else str(scale) if isinstance(scale, str) else units.tolist(),
            "memory": memory,
            "verify": verify,
        },
    )


def _checked(
    problem: Problem, used: Plan, where: Plane | Points, field: Field, verify: int
) -> tuple[int, float] | None:
    """How many points were checked in all, and the worst deviation; None when none were asked for."""
    if not verify:
        return None
    found = [verified(p, used, where, field.of_member(i), verify) for i, p in problem.of_each()]
    checks = [check for check in found if check is not None]
    # a NaN, which is a check that found no point, wins
    return sum(n for n, _ in checks), float(torch.tensor([worst for _, worst in checks]).max())


def _guest(model: Any, where: Plane | Points, output: Output, start: str | None) -> Guest:
    guest = Guest(model, output=output, start=start)
    if guest.dtype is None:
        # a model without numbers of its own computes in the precision of its inputs
        given = where.points(0, 1).dtype
        guest.dtype = given if given in (torch.float32, torch.float64) else torch.float32
    return guest


def _probe(guest: Guest, where: Plane | Points) -> tuple[Anatomy, bool]:
    """Run two points: take down the layers, refuse what cannot be differentiated, see whether points mix."""
    x = prepare(guest, where.points(0, 2))
    if len(x) == 1:
        x = torch.cat([x, x])
    try:
        seen = anatomy(guest, x)
        with torch.no_grad():
            alone = guest(x[:1], None if guest.start is None else guest.entry(x[:1]))
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            "inputs",
            f"points of shape {tuple(x.shape[1:])}, which the model rejects: {type(error).__name__}: {error}",
            "give points in the shape that the model takes, batch first",
        ) from error
    if seen.trace.reads:
        raise ArgumentError(
            "model",
            f".{seen.trace.reads[0]}() in forward on a value that depends on the input",
            "the derivative is lost there; keep the value a tensor",
        )
    if seen.trace.random:
        got = f"{seen.trace.random[0]} in training mode in forward"
        raise ArgumentError("model", got, "call model.eval() first, and let forward heed self.training")
    together = seen.output[:1]
    if not torch.isfinite(together).all():
        return seen, False
    tolerance = 1e3 * torch.finfo(together.dtype).eps * max(1.0, float(together.abs().max()))
    return seen, bool((together - alone).abs().max() > tolerance)


def _scale(scale: Any, where: Plane | Points, guest: Guest, inputs: int, start: str | None) -> Tensor:
    dtype, device = guest.dtype, guest.device or where.points(0, 1).device
    if scale is None:
        return torch.ones(inputs, dtype=dtype, device=device)
    if isinstance(scale, str):
        if scale != "std" or isinstance(where, Plane) or start is not None:
            raise ArgumentError(
                "scale",
                repr(scale),
                'give one number per coordinate, such as data.std(0); "std" needs inputs that are points',
            )
        values = where.points().flatten(1).double().std(0, correction=0)
    else:
        values = torch.as_tensor(scale, dtype=torch.float64).flatten()
        values = values.expand(inputs) if values.numel() == 1 else values
    if values.numel() != inputs:
        raise ArgumentError(
            "scale", f"{values.numel()} numbers", f"give one, or one for each of the {inputs} coordinates"
        )
    if not torch.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise ArgumentError(
            "scale", "negative, non-finite or only zero values", "give finite numbers >= 0, not all of them 0"
        )
    return values.to(dtype=dtype, device=device).contiguous()


def _durations(duration: float | Sequence[float] | None, chosen: list[Layer]) -> list[float]:
    if duration is None:
        # a layer that the input does not reach has depth 0, and its stretch is -inf whatever the divisor
        return [float(max(1, layer.depth)) for layer in chosen]
    values = [float(duration)] * len(chosen) if isinstance(duration, int | float) else [float(v) for v in duration]
    if len(values) != len(chosen) or not all(0 < v < float("inf") for v in values):
        names = [layer.label for layer in chosen]
        raise ArgumentError("duration", repr(duration), f"give a positive number, or one for each of {names}")
    return values
