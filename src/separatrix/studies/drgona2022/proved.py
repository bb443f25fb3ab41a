"""What certificates prove and refute of the 828 cases, beside products of norms and what orbits show."""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, NAMES, SETTINGS
from separatrix.studies.drgona2022.certified import FAR, STATEMENTS, VERDICTS, certified
from separatrix.studies.drgona2022.shares import counted
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least
from separatrix.studies.study import Context, Part, Table
from separatrix.sweeps import sweep

if TYPE_CHECKING:
    import xarray as xr

FILE = "drgona2022-certificates.nc"
UNKNOWN, CERTIFIED, REFUTED = range(len(VERDICTS))


def runs(context: Context) -> list[dict[str, Any]]:
    """One run for each activation and depth, the longest first."""
    few = ("softSVD (0.99, 1.1)", "gershgorin (0, 1)")
    shared = {
        "seeds": (context.seed,),
        "settings": context.pick(quick=few, paper=tuple(s.name for s in SETTINGS)),
        "starts": context.pick(quick=64, paper=256),
        "steps": 4096,
        "seconds": 4.0,
    }
    depths = context.pick(quick=(1,), paper=tuple(sorted(DEPTHS, reverse=True)))
    return [{"activation": a, "depth": n, **shared} for n, a in product(depths, ACTIVATIONS)]


def run(context: Context) -> Part:
    """Ask for contraction, stability and boundedness of every network of one seed."""
    import xarray as xr

    context.say("certificates")
    wanted = runs(context)
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(wanted))
    done = sweep(certified, wanted, store=context.store / "certificates", workers=workers, progress=context.progress)
    parts = [done.load(one) for one in wanted]
    whole = xr.concat(
        parts, "point", data_vars="all", coords="different", compat="equals", join="override", combine_attrs="override"
    )
    whole.to_netcdf(context.store / FILE)
    return Part(
        findings=[more_than_norms(whole), never_wrong(whole)],
        tables=[table(whole), methods(whole)],
        settings={
            "networks": f"{whole.sizes['point']} cases, one seed",
            "budget": f"{wanted[0]['seconds']:g} s for each statement",
            "orbits": f"{wanted[0]['starts']} starts in [−6, 6]², {wanted[0]['steps']:,} steps at most",
            "table": f"{FILE} in the store: verdict, method and time of every statement about every network",
        },
        notes=[
            "Certified and refuted are proofs, in every norm; what is left is unknown. Stability: one equilibrium "
            "attracts every start. Contraction: all orbits come together in some norm, which is more.",
            "The order of the columns is that of strength: whatever products of norms prove is proved by the others.",
        ],
    )


def more_than_norms(found: xr.Dataset) -> Finding:
    """C19: how much more than by products of norms is proved."""
    rows = []
    for name in ("contraction", "boundedness"):
        old, new = found[f"norms_{name}"].values.astype(bool), found[name].values == CERTIFIED
        rows.append(
            Measurement(
                f"{name} certified, networks",
                float(new.sum()),
                n=new.size,
                of="networks",
                baseline=Baseline("by products of norms", float(old.sum())),
                accept=at_least(float(old.sum())),
            )
        )
        rows.append(counted(f"{name} by norms is certified", new[old], accept=at_least(1.0, decisive=True)))
    old, new = found["norms_contraction"].values.astype(bool), found["stability"].values == CERTIFIED
    rows.append(
        Measurement("stability certified, networks", float(new.sum()), n=new.size, of="networks",
                    baseline=Baseline("contraction by products of norms", float(old.sum())),
                    accept=at_least(float(old.sum()), strict=True))
    )  # fmt: skip
    single = found["spread"].values <= FAR
    rows.append(counted("stability certified where orbits come to one fixed point", new[single], accept=at_least(0.5)))
    return Finding("C19", rows)


def never_wrong(found: xr.Dataset) -> Finding:
    """C20: verdicts against orbits."""
    spread = found["spread"].values
    stable, bounded = found["stability"].values, found["boundedness"].values
    contracting = found["contraction"].values
    one = ~(spread > FAR)
    rows = [
        counted("one limit, where stability is certified", one[stable == CERTIFIED],
                accept=at_least(1.0, decisive=True)),
        counted("one limit, where contraction is certified", one[contracting == CERTIFIED],
                accept=at_least(1.0, decisive=True)),
        counted("not refuted as bounded, where stability is certified", (bounded != REFUTED)[stable == CERTIFIED],
                accept=at_least(1.0, decisive=True)),
        counted("contraction not certified, where stability is refuted", (contracting != CERTIFIED)[stable == REFUTED],
                accept=at_least(1.0, decisive=True)),
    ]  # fmt: skip
    return Finding("C20", rows)


def table(found: xr.Dataset) -> Table:
    """Counts by activation."""
    rows = []
    activation = found["activation"].values
    for name in ACTIVATIONS:
        part = found.isel(point=np.flatnonzero(activation == name))
        cells = [str(int(part["norms_contraction"].sum()))]
        cells += [" / ".join(str(int((part[s].values == v).sum())) for v in range(1, 3)) for s in STATEMENTS]
        cells += [str(int((part["spread"].values <= FAR).sum())), str(part.sizes["point"])]
        rows.append((NAMES[name], *cells))
    header = ("activation", "contraction by norms", *(f"{s}: certified / refuted" for s in STATEMENTS),
              "one fixed point seen", "networks")  # fmt: skip
    return Table(header, rows, "The rest is unknown. One seed.", numbers=range(1, 7))


def methods(found: xr.Dataset) -> Table:
    """Which method decided, and how long it took."""
    rows = []
    for statement in STATEMENTS:
        verdict, way = found[statement].values.ravel(), found[f"{statement}_method"].values.ravel()
        seconds = found[f"{statement}_seconds"].values.ravel()
        for (value, name), count in Counter(zip(verdict.tolist(), way.tolist(), strict=True)).most_common():
            mask = (verdict == value) & (way == name)
            took = f"{np.median(seconds[mask]):.2g}"
            rows.append((statement, VERDICTS[value], name or "none", str(count), took))
    return Table(("statement", "verdict", "method", "networks", "median s"), rows, "What decided.", numbers=(3, 4))
