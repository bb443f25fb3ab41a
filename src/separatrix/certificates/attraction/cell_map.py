"""Certified basins by cell mapping: cells whose images lie in what is attracted already.

Cells of a lattice are carried forward by interval images. A cell is attracted if it lies in the ellipsoid of
attraction, if its image after some steps does, or if that image is covered by cells that are attracted. Starting from
the ellipsoid this is repeated until nothing is added; then cells at the border of what is attracted are divided.
(C. S. Hsu, *Cell-to-Cell Mapping*, 1987; with rigorous images instead of those of sample points.)
"""

from __future__ import annotations

from math import prod
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_growth import Grown, grown
from separatrix.certificates.attraction.cell_lattice import Lattice, Table
from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.certificates.attraction.ellipsoids import Metric, metric
from separatrix.certificates.attraction.proof import verify_attraction
from separatrix.certificates.problem import Corners, Failure, Problem, Proof

NAME = "cell mapping"
CELLS = {1: 4096, 2: 256**2, 3: 64**3}
_MOST_STEPS = 4096
_MOST_CELLS = 2**24
_WIDER = 1e-9


def prove_basin(
    problem: Problem, attraction: Proof, box: Corners, *, cells: int | None = None, seconds: float = 60.0
) -> Proof | Failure:
    """Continue a region of attraction by the cells of a box that are proved to be attracted.

    Parameters
    ----------
    problem : Problem
        Of up to three components; an input must be constant.
    attraction : Proof
        What :func:`separatrix.certificates.attraction.proof.prove_attraction` gave.
    box : (lo, hi) of Tensor (n,)
        Where to look. It is widened by 1e-9 of itself, so that it is covered in spite of rounding, unless the problem
        has a box of its own.
    cells : int, optional
        Cells of the finest lattice; default 4,096 for one component, 65,536 for two and 262,144 for three.
    seconds : float
        Time for the search and for verifying what it found.

    Returns
    -------
    Proof or Failure
        ``data`` is that of the ellipsoid, with ``lo`` and ``hi`` (K, n), the corners of the cells that are attracted,
        and ``steps`` (K,), after how many steps the image of each is covered, 0 for cells in the ellipsoid.

    Notes
    -----
    Images pass through any states, also outside the box. Cost: a pass through the network for each cell and step, of
    some 20 microseconds for two layers of 32.
    """
    began = perf_counter()
    n = problem.n
    if n not in CELLS:
        return Failure(NAME, f"{n} components are too many for cells")
    if problem.driven:
        return Failure(NAME, "an input that changes moves the equilibrium", "ask for contraction or boundedness")
    lo, hi = (side.double() for side in box)
    if problem.box is None:
        wider = _WIDER * (hi - lo)
        lo, hi = lo - wider, hi + wider
    side = max(8, 2 ** int(torch.tensor(float(cells or CELLS[n])).log2().item() / n + 1e-9))
    coarse = Lattice(lo, hi, (max(8, side // (16 if n == 1 else 4)),) * n)
    levels = (side // coarse.shape[0]).bit_length()
    shape, centre = metric(attraction.data["P"]), attraction.data["centre"]
    if shape is None or not coarse.proper():
        return Failure(NAME, "the box or the metric cannot be used", "a larger box")
    walk = Walk(problem)
    found = grown(walk, shape, centre, float(attraction.data["level"]), coarse, levels, began + 0.6 * seconds)
    return verify_basin(problem, {**attraction.data, **_as_data(found)})


def _as_data(found: Grown) -> dict[str, Any]:
    lattice = found.lattice
    lo, hi = lattice.corners(found.first, found.last)
    return {
        "corners": torch.stack([lattice.lo, lattice.hi]),
        "shape": torch.tensor(lattice.shape),
        "lo": lo.T.contiguous(),
        "hi": hi.T.contiguous(),
        "steps": found.steps,
    }


def verify_basin(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show again that the ellipsoid and the cells of ``data`` are attracted: each image is computed anew."""
    near = verify_attraction(problem, data)
    if isinstance(near, Failure):
        return near
    lattice, lo, hi, steps = _read(data)
    n = problem.n
    fits = lo.shape == hi.shape == (len(steps), n) and len(lattice.shape) == n and bool((steps >= 0).all())
    fits = fits and _largest(steps) <= _MOST_STEPS
    fits = fits and 0 < prod(lattice.shape) <= _MOST_CELLS and lattice.proper()
    places = lattice.exactly(lo.T.contiguous(), hi.T.contiguous()) if fits else None
    if places is None:
        return Failure(NAME, "the cells are not those of the lattice")
    if problem.box is not None and not bool(((lattice.lo >= problem.box[0]) & (lattice.hi <= problem.box[1])).all()):
        return Failure(NAME, "the lattice is not inside the box")
    shape, centre, level = metric(near.data["P"]), near.data["centre"], float(near.data["level"])
    assert shape is not None
    inside, image_lo, image_hi = _images(Walk(problem), shape, centre, level, lo.T, hi.T, steps)
    first, last, within = lattice.around(image_lo, image_hi)
    sure = inside
    while True:
        table = Table(lattice.filled(places[0][:, sure], places[1][:, sure]))
        more = ~sure & within & (steps > 0) & table.covers(first, last)
        if not bool(more.any()):
            break
        sure = sure | more
    if not bool(sure.all()):
        return Failure(NAME, f"{int((~sure).sum())} of {len(sure)} cells are not shown to be attracted")
    share = float((hi - lo).prod(1).sum() / (lattice.hi - lattice.lo).prod())
    notes = (f"{len(steps)} cells, {100 * share:.3g} % of the box, lead into the ellipsoid",)
    return Proof(NAME, None, "P", None, near.margin, {**data, **near.data}, notes)


def _largest(steps: Tensor) -> int:
    return int(steps.max()) if len(steps) else 0


def _read(data: dict[str, Any]) -> tuple[Lattice, Tensor, Tensor, Tensor]:
    corners, lo, hi = (torch.as_tensor(data[key], dtype=torch.float64) for key in ("corners", "lo", "hi"))
    steps = torch.as_tensor(data["steps"]).long()
    shape = tuple(int(k) for k in torch.as_tensor(data["shape"]))
    return Lattice(corners[0], corners[1], shape), lo, hi, steps


def _images(
    walk: Walk, shape: Metric, centre: Tensor, level: float, lo: Tensor, hi: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each cell's image after its own steps lies in the ellipsoid, and a box around that image."""
    inside = torch.zeros(len(steps), dtype=torch.bool)
    image_lo, image_hi = lo.clone(), hi.clone()
    order = steps.argsort(stable=True)
    for part in order.split(walk.chunk):
        cells = walk.start(lo[:, part], hi[:, part])
        gone = 0
        inside[part] = shape.most(lo[:, part] - centre[:, None], hi[:, part] - centre[:, None]) <= level
        inside[part] &= steps[part] == 0
        while True:
            left = steps[part] > gone
            part = part[left]
            if not len(part):
                break
            cells, gone = walk.step(cells.pick(left)), gone + 1
            due = steps[part] == gone
            there = part[due]
            inside[there] = shape.after(cells.pick(due), centre) <= level
            image_lo[:, there], image_hi[:, there] = cells.lo[:, due], cells.hi[:, due]
    return inside, image_lo, image_hi


def covers(proof: Proof, lo: Float[Tensor, " n"], hi: Float[Tensor, " n"]) -> bool:
    """Whether a box lies in the region of a verified basin."""
    lattice, low, high, _ = _read(proof.data)
    places = lattice.exactly(low.T.contiguous(), high.T.contiguous())
    if places is not None:
        first, last, within = lattice.around(lo.double()[:, None], hi.double()[:, None])
        if bool(within.all()) and bool(Table(lattice.filled(*places)).covers(first, last).all()):
            return True
    shape, centre = metric(proof.data["P"]), proof.data["centre"]
    if shape is None:
        return False
    return bool(shape.most((lo - centre)[:, None], (hi - centre)[:, None])[0] <= float(proof.data["level"]))
