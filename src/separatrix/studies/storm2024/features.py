"""Fig. 3(a): frozen random hidden weights with a trained output, against full training, at L = 2; T6 and T7.

With thresholds of exactly zero the features of a tanh network are odd functions of the input, so that no linear readout
of them can tell the inside of a centred disc, an even function, from its outside: the error is a half. The letter gives
thresholds of zero for its networks, and an error that falls with the width; thresholds must be random for that.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from separatrix.data import disc
from separatrix.ensembles import gaussian, make_members
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_most, factor, near
from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.storm2024.disc_measures import data_note, networks
from separatrix.studies.storm2024.feature_figures import errors_figure
from separatrix.studies.storm2024.networks import DECLARED, perceptron
from separatrix.studies.storm2024.runs import trained_runs
from separatrix.studies.study import Context, Part

WIDTHS = (5, 7, 10, 15, 22, 33, 48, 70, 103, 150)
VARIANCES = (1.0, 0.1, 1e-7, 0.0)
"""Of the hidden thresholds. The first is what is compared with the letter, the last the negative control."""

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}


def random_features(width: int, seed: int, variance: float, X: Tensor) -> Tensor:
    """Values of the second hidden layer of a random network, with a column of ones, (n, width + 1) in float64."""

    def draw(module: torch.nn.Module) -> None:
        gaussian(module, bias_std=variance**0.5)

    (network,) = make_members(lambda: perceptron(2, width, 2, 1, bounded=False)[:4].double(), [seed], draw)
    with torch.no_grad():
        hidden = network(X.double())
    return torch.cat([hidden, torch.ones(len(X), 1, dtype=torch.float64)], 1)


def readout_error(width: int, seed: int, variance: float) -> float:
    """Test error of the least-squares readout of random features."""
    problem = disc()
    assert problem.y_train is not None and problem.y_test is not None
    features = random_features(width, seed, variance, torch.cat([problem.X_train, problem.X_test])).numpy()
    train, test = np.split(features, [len(problem.X_train)])
    # a triangular factor first: the same solution, for less than an SVD of all rows
    factor = np.asarray(np.linalg.qr(np.column_stack([train, problem.y_train.double().numpy()]), mode="r"))
    fitted = np.linalg.lstsq(factor[:, :-1], factor[:, -1], rcond=None)[0]
    return float((test @ fitted * problem.y_test.double().numpy() <= 0).mean())


def run(context: Context) -> Part:
    """Measure both curves and the control."""
    widths = context.pick(quick=(5, 22, 103), paper=WIDTHS)
    seeds = range(context.seed, context.seed + context.pick(quick=3, paper=10))
    context.say("features: random hidden weights")
    frozen = {
        variance: {width: np.array([readout_error(width, seed, variance) for seed in seeds]) for width in widths}
        for variance in VARIANCES
    }
    context.say("features: full training")
    trained = {nets.width: nets.error for nets in networks(context, trained_runs(context.scale))}
    short = "the quick scale trains on fewer points in fewer epochs" if context.quick else ""
    return Part(
        findings=[_random(frozen, widths), _trained(trained, short)],
        figures=[errors_figure(frozen, trained)],
        settings={
            "data": data_note(),
            "random features": f"two hidden layers of tanh, weights N(0, 1/fan-in), {len(seeds)} seeds; readout by "
            "least squares on the targets −1 and +1 (rcond of numpy)",
            "threshold variances": ", ".join(f"{v:g}" for v in VARIANCES),
            "full training": ", ".join(
                f"{k} {v}" for k, v in (trained_runs(context.scale)[0] | {"width": "any"}).items()
            ),
            "initial weights of full training": f"first layer: {DECLARED['first']}",
        },
        notes=[
            "Zero thresholds make the features odd and the target is even: the error is then a half at every width, "
            "whatever the readout. The letter's zero thresholds can therefore not be those of its Fig. 3(a)."
        ],
    )


def _random(frozen: dict[float, dict[int, np.ndarray]], widths: tuple[int, ...]) -> Finding:
    rows = []
    for width in widths:
        target = TARGETS["T6"][f"N={width}"]
        control = frozen[0.0][width]
        rows.append(
            Measurement.of_samples(
                f"error, random hidden weights, N = {width}",
                100 * frozen[1.0][width],
                unit="%",
                target=target,
                baseline=Baseline("zero thresholds", float(100 * control.mean()), float(100 * control.std(ddof=1))),
                accept=factor(target, 2.0) if width >= 22 else near(target, 4.0),
            )
        )
    return Finding("T6", rows)


def _trained(trained: dict[int, np.ndarray], short: str) -> Finding:
    rows = [
        Measurement.of_samples(
            f"error, all weights trained, N = {width}",
            100 * error,
            unit="%",
            target=TARGETS["T7"][f"N={width}"],
            accept=at_most(1.5),
        )
        for width, error in sorted(trained.items())
    ]
    return Finding("T7", rows, not_measured=short)
