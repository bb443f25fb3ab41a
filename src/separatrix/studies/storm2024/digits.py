"""Fig. 4: networks that tell handwritten digits apart."""

from __future__ import annotations

import numpy as np
import torch

from separatrix.data import Problem
from separatrix.studies.ledger import Finding
from separatrix.studies.storm2024 import (
    digit_bottleneck,
    digit_errors,
    digit_figures,
    digit_path_numbers,
    digit_paths,
    digit_widths,
)
from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.storm2024.digit_looks import Look, ensemble_runs, exponents, look_at
from separatrix.studies.storm2024.digit_networks import DECLARED, LETTER_IMAGES, untrained
from separatrix.studies.study import Context, Part

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}


def run(context: Context) -> Part:
    """Measure M1 to M4 on MNIST."""
    problem = context.data("mnist")
    context.say("digits: ensemble")
    look, runs = look_at(context, "mnist"), ensemble_runs(context, "mnist")
    before = np.stack([exponents(net, look.X, DECLARED["depth"])[0] for one in runs for net in untrained(one)])
    draws = context.pick(quick=100, paper=400)
    bins = digit_errors.binned(look.hidden[0], look.entropy, look.wrong[0])
    target = TARGETS["M2"]

    context.say("digits: widths")
    widths = digit_widths.by_width(context)

    context.say("digits: bottleneck and attack")
    how = digit_paths.Walk(count=context.pick(quick=120, paper=200), images=context.pick(quick=20, paper=60))
    walked = [digit_paths.attack_paths(look, i, how, context.seed) for i in range(len(look.members))]
    paths = [one for one in walked if one is not None]
    flat = digit_bottleneck.Settings(epochs=context.pick(quick=10, paper=100), starts=context.pick(quick=2, paper=5))
    images = runs[0]["images"]
    assert problem.y_train is not None
    train_set = problem.X_train[:images], problem.y_train[:images]
    picture = digit_bottleneck.flattened(look.members[0], train_set, (look.X, look.y), flat)
    clusters = digit_bottleneck.between_clusters(picture, look.hidden[0], context.seed, draws)
    return Part(
        findings=[
            digit_errors.correlations(look, before, context.seed, draws),
            digit_errors.ends(look, target["low"], target["high"], before),
            digit_widths.trends(widths),
            Finding("M4", [clusters, *digit_path_numbers.measurements(paths)])
            if paths
            else Finding("M4", [clusters], not_measured="no attack turned a recognised 9 into a 4"),
        ],
        figures=[
            digit_figures.against_exponent(bins),
            digit_figures.plane(picture, look.hidden[0], _typical(walked[0], picture)),
            *([digit_figures.along_attack(paths)] if paths else []),
            digit_figures.against_width(widths),
        ],
        tables=[digit_errors.letter_table(bins)],
        settings={
            **_settings(look, runs, images),
            "widths": ", ".join(f"N = {w.width} ({len(w.error)} members)" for w in widths)
            + f"; 16 hidden layers, {digit_widths.width_runs(context)[0]['epochs']} epochs, else as the ensemble; "
            f"exponents of {widths[0].images} test images, evenly spread",
            "bottleneck": flat.described(),
            "attack": how.described(),
            "compared with": "; ".join(digit_paths.NULLS.values()),
        },
        notes=_notes(problem, look, widths, paths, picture),
    )


def _settings(look: Look, runs: list[dict[str, object]], images: int) -> dict[str, str]:
    one = runs[0]
    return {
        "ensemble": f"784-({one['width']}×{one['depth']})-10: {one['depth']} hidden layers, tanh; "
        f"{len(look.members)} members; weights N(0, 1/fan-in), "
        f"thresholds N(0, {one['threshold_variance']:g}); pixels in [0, 1]",
        "training": f"cross entropy, Adam {one['rate']:g} with weight decay {one['decay']:g}, batch {one['batch']}, "
        f"{one['epochs']} epochs of {images:,} images, one order of the images for all members (after the authors' "
        "public code, which has 30 epochs of 60,000)",
        "exponent": "first, at the last hidden layer after tanh, over 16 layers",
        "test images": f"{len(look.X):,}",
    }


def _notes(
    problem: Problem,
    look: Look,
    widths: list[digit_widths.Width],
    paths: list[digit_paths.Paths],
    picture: digit_bottleneck.Picture,
) -> list[str]:
    error = look.wrong.mean(1)
    notes = [
        f"Training accuracy {100 * look.accuracy.mean():.2f} % (the letter writes 98.88 % and does not say on which "
        f"images), test error {100 * error.mean():.1f} ± {100 * error.std(ddof=1):.1f} % of single members and "
        f"{100 * _together(look):.1f} % of all together; with two neurons before the output "
        f"{100 * picture.error:.1f} %. MNIST has {LETTER_IMAGES:,} training images; there were "
        f"{len(problem.X_train):,} here, and errors at a given exponent depend on that.",
        "Test errors by width: "
        + ", ".join(f"{100 * w.error.mean():.1f} % (N = {w.width})" for w in widths)
        + f". The mean of the exponents is largest at N = {max(widths, key=lambda w: w.mean.mean()).width}, their "
        f"standard deviation smallest at N = {min(widths, key=lambda w: w.std.mean()).width}; before training the mean "
        f"differs by {widths[-1].before_mean.mean() - widths[0].before_mean.mean():.3f} between the ends already.",
    ]
    if not paths:
        return notes
    done = sum(len(p.length) for p in paths)
    cosine = {
        kind: float(np.mean([p.cosines[f"{kind}, at the image"].mean() for p in paths]))
        for kind in ("gradient", "pulled back")
    }
    return [
        *notes,
        f"{done} of {done + sum(p.lost for p in paths)} attacks passed twice the way to the switch, which lay at an L2 "
        f"distance of {np.median(np.concatenate([p.length for p in paths])):.2f} in the median.",
        "That the direction of largest stretch lies along an attack says little by itself. Both come back through the "
        f"same layers, of which the first lets {paths[0].seen} directions of 784 pixels pass, and what comes back "
        "through all of them is mostly the direction of largest stretch, whatever it began with: gradients of random "
        f"linear functions of the last hidden layer have |cos| = {cosine['pulled back']:.2f} with it, the gradient of "
        f"the attack {cosine['gradient']:.2f}.",
    ]


def _together(look: Look) -> float:
    probability = torch.softmax(look.logits.double(), -1).mean(0)
    return float((probability.argmax(-1) != look.y).double().mean())


def _typical(paths: digit_paths.Paths | None, picture: digit_bottleneck.Picture) -> np.ndarray | None:
    """Attack of median length on the member of the picture, in its plane."""
    if paths is None:
        return None
    chosen = int(np.argsort(paths.length)[len(paths.length) // 2])
    with torch.no_grad():
        return np.asarray(picture.trunk(paths.places[chosen]).numpy())
