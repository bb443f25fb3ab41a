"""The original's phase portraits and spectra, case by case, with what other seeds do."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from separatrix.figures import style
from separatrix.figures.phase_portraits import phase_portrait
from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.cases import ACTIVATIONS, BY_NAME, DEPTHS, NAMES, SETTINGS, Case
from separatrix.studies.drgona2022.chaos import CHAOTIC_GROUP
from separatrix.studies.drgona2022.measure import grid_points
from separatrix.studies.drgona2022.networks import Networks, stacked
from separatrix.studies.drgona2022.settling import BOX
from separatrix.studies.drgona2022.table import BEHAVIOURS, Cases, cases
from separatrix.studies.study import Context, Figure, Part, Table
from separatrix.systems.maps import Map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS, LATE = 20, 400


def _case(setting: str, activation: str, depth: int, bias: bool = False) -> Case:
    return Case(BY_NAME[setting], activation, depth, bias)


GROUPS: dict[str, tuple[Case, ...]] = {
    "chaotic attractors": tuple(_case(setting, activation, 8) for setting, activation in CHAOTIC_GROUP),
    "attractors": (
        _case("softSVD (0.99, 1)", "selu", 4),
        _case("softSVD (0.99, 1)", "selu", 8),
        _case("softSVD (0.99, 1.1)", "selu", 1),
        _case("gershgorin (0, 1)", "relu", 1),
        _case("gershgorin (-1.5, -1.1)", "selu", 1, True),
        _case("pf (1, 1)", "relu", 1),
        _case("gershgorin complex (0.99, 1.1)", "softplus", 1),
    ),
    "spectrum": (
        *(_case("gershgorin (0, 1)", "gelu", n) for n in DEPTHS),
        *(_case("gershgorin complex (0.99, 1)", "gelu", n) for n in DEPTHS),
    ),
    "bias": (
        *(_case("gershgorin (0.99, 1.1)", "gelu", n, True) for n in DEPTHS),
        *(_case("gershgorin complex (0, 1)", "relu", 1, bias) for bias in (False, True)),
    ),
    "dynamics": (
        _case("gershgorin complex (0, 1)", "selu", 8),
        _case("softSVD (0.99, 1.1)", "tanh", 8),
        _case("gershgorin (1, 1.01)", "softplus", 8, True),
    ),
}
"""Figure groups of the released code."""


def network(case: Case, seed: int) -> Networks:
    """The case's network of one seed."""
    return stacked(case.setting, case.activation, case.depth, (seed,), (case.bias,))


def portrait(ax: Axes, nets: Networks) -> None:
    """Steps and orbits from a circle, and where orbits are after many steps."""
    t = 0.25 + np.arange(8) * (np.pi / 4)
    starts = torch.from_numpy(4 * np.stack([np.cos(t), np.sin(t)], axis=1))
    phase_portrait(Map(nets.module(0)), (-BOX, BOX), shape=11, starts=starts, steps=STEPS, ax=ax, colorbar=False)
    end = starts.T[None]
    tail = []
    for k in range(LATE + 64):
        end = nets.step(end)
        if k >= LATE:
            tail.append(end[0])
    points = torch.cat(tail, 1)
    ax.plot(*points[:, points.abs().amax(0) <= BOX].numpy(), ".", color=style.ON_IMAGE, ms=4.5, mew=0, zorder=4)
    ax.set(xlabel="", ylabel="", xticks=(-5, 0, 5), yticks=(-5, 0, 5))


def spectrum(ax: Axes, nets: Networks) -> None:
    """Eigenvalues of A* over the square, and the unit circle."""
    from matplotlib.patches import Circle

    values = eigenvalues(nets.chords(grid_points(24)[None])[0]).flatten().numpy()
    ax.add_patch(Circle((0, 0), 1, fill=False, ec=style.QUIET, lw=0.8))
    ax.plot(values.real, values.imag, ".", color="#1f5f93", ms=2.5, mew=0, alpha=0.6)
    ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
    style.frame(ax)


def panels(name: str, group: tuple[Case, ...], found: Cases, seed: int) -> Figure:
    """Portraits above, spectra below."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(2.1 * len(group) + 0.4, 5.2), layout="constrained", dpi=110)
    axes = canvas.subplots(2, len(group), squeeze=False, gridspec_kw={"hspace": 0.12})
    canvas.set_layout_engine("constrained", h_pad=0.08)
    for column, case in enumerate(group):
        nets = network(case, seed)
        portrait(axes[0, column], nets)
        spectrum(axes[1, column], nets)
        title = f"{case.setting.name}\n{NAMES[case.activation]}, n = {case.depth}{', bias' if case.bias else ''}"
        axes[0, column].set_title(title.replace("-", "−"), size=8)
        kinds = behaviours(case, found)
        axes[1, column].set_title(f"{kinds[0]}\n({kinds.count(kinds[0])} of {len(kinds)} seeds)", size=8)
        for ax in axes[:, column]:
            ax.tick_params(labelsize=7, labelleft=column == 0)
    out = io.BytesIO()
    canvas.savefig(out, format="png", facecolor="white")
    return Figure(
        f'Figure group "{name}"',
        out.getvalue(),
        f"Above: f(x) − x as arrows and its length as colour, orbits of {STEPS} steps from the circle of radius 4, and "
        f"in black where they are after {LATE} steps. Below: eigenvalues of A* at 24 × 24 points, with the unit "
        f"circle, and what seed {seed}, which is drawn, does; in brackets how many seeds do the same.",
        size="full" if len(group) > 3 else "half",
    )


def behaviours(case: Case, found: Cases) -> list[str]:
    """What each seed of a case does."""
    place = (
        SETTINGS.index(case.setting),
        ACTIVATIONS.index(case.activation),
        DEPTHS.index(case.depth),
        int(case.bias),
    )
    return [BEHAVIOURS[int(k)] for k in found.behaviour[(slice(None), *place)]]


def table(found: Cases) -> Table:
    """All cases of the figure groups over seeds."""
    rows = []
    for name, group in GROUPS.items():
        for case in group:
            counts = Counter(behaviours(case, found))
            listed = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
            rows.append((name, case.name.replace("-", "−"), listed))
    return Table(("group", "case", "seeds"), rows, f"What {found.seeds} seeds of each case do")


def run(context: Context) -> Part:
    """Draw the groups."""
    found = cases(context)
    return Part(
        figures=[panels(name, group, found, context.seed) for name, group in GROUPS.items()],
        tables=[table(found)],
        settings={
            "drawn": f"seed {context.seed}; the original's seed 410 belongs to other generators and cannot be repeated",
            "starts": "4 (cos t, sin t), t = 0.25 + k π/4; the original's ninth repeats the first",
        },
        notes=[
            "The original calls a case by what its one seed shows in 20 steps. The table gives what becomes of all "
            "seeds in the end.",
        ],
    )
