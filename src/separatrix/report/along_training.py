"""The training section: a copy of the model is trained on, and how that training moves neighbouring weights apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures.svg import draw
from separatrix.figures.training_histories import exponent_histories, loss_history
from separatrix.report.context import Context, Options
from separatrix.report.continued_training import LARGE, followed
from separatrix.report.document import Figure, Section, Table
from separatrix.report.registry import instrument
from separatrix.report.training_recipe import OPTIMIZERS, Recipe, training_recipe
from separatrix.results.status import flag_names

if TYPE_CHECKING:
    import xarray as xr

LEAD = (
    "A copy of the model is trained further from its present weights; the model itself is left as it was. A step of "
    "training is a map of the weights and the optimizer's memory, and its Lyapunov exponents are the mean rates, per "
    "step, at which states that are very near each other separate (positive) or come together (negative) when both are "
    "trained on the same batches. They are exponents of training, not of the map from inputs to outputs."
)
NEGLIGIBLE = 0.01
"""Relative change of a distance that is told as none."""
RESOLVED = 1e-7
"""Exponents per step below which float32 perturbations mean nothing."""
STATUS = {
    "ok": "the two halves of the steps agree within five standard errors of their difference",
    "short": "too few steps for a standard error",
    "transient": "a transient: the two halves of the steps disagree, so there is no standard error",
    "unconverged": "too close to its neighbours for so few steps",
    "singular": "some steps removed this direction",
    "missing": "the state has fewer components",
    "nonfinite": "training left the floating-point numbers",
}


@instrument("along training", order=40)
def along_training(context: Context, *, large: int = LARGE) -> Section | None:
    """Make the section where a loss is given; from ``large`` weights on by the monitor of a training loop."""
    asked = training_recipe(context.options, context.problem)
    if asked is None:
        return None
    context.say("train a copy further")
    ds, notes = followed(context, asked, large=large)
    context.save(ds, "training")
    return Section(
        "Along training",
        facts=_facts(ds),
        prose=told(ds, asked, context.options),
        figures=_figures(context, ds),
        tables=[_table(ds)],
        notes=notes,
    )


def told(ds: xr.Dataset, asked: Recipe, options: Options) -> list[str]:
    """Paragraphs of the section."""
    return [LEAD, _about(ds, asked, options), *_findings(ds), *_stability(ds)]


def _about(ds: xr.Dataset, asked: Recipe, options: Options) -> str:
    """How it was trained, and what of that was this page's choice."""
    attrs = ds.attrs
    rows, batch = int(attrs["rows"]), int(attrs["batch"])
    shown = (
        f"all {rows:,} training inputs at every step" if batch == rows else f"batches of {batch:,} of {rows:,} inputs"
    )
    words = f"{OPTIMIZERS[asked.optimizer][0]}, learning rate {asked.rate:g}"
    steps = int(attrs["steps"])
    text = (
        f"Loss: {attrs['loss']}. Optimizer: {words}. There {'was' if steps == 1 else 'were'} {_steps(steps)} with "
        f"{shown}, and "
        f"{int(attrs['weights']):,} weights are trained."
    )
    if int(attrs["warm"]):
        text += f" {int(attrs['warm'])} steps before these, which are left out, fill the optimizer's memory."
    own = {"optimizer": "the optimizer", "rate": "the learning rate", "batch": "the batches", "steps": "the steps"}
    chosen = [word for name, word in own.items() if getattr(options, name) is None]
    if chosen:
        listed = chosen[0] if len(chosen) == 1 else f"{', '.join(chosen[:-1])} and {chosen[-1]}"
        theirs = "that" if len(chosen) == 1 and chosen[0] in ("the optimizer", "the learning rate") else "those"
        text += f" Exponents depend on all of this, and this page chose {listed}: give {theirs} of your own training."
    if attrs["method"] == "monitor":
        return text + (
            f" For so many weights one perturbation alone is carried, in {attrs['precision']}, along an ordinary "
            "training loop, with exact products with the Hessian."
        )
    return text + " The perturbations are carried by the exact derivative of every step, in float64."


def _findings(ds: xr.Dataset) -> list[str]:
    """What the largest exponent says, in plain words."""
    one = ds.isel(member=0)
    steps, status = int(ds.attrs["steps"]), _status(ds)[0]
    value, error = float(one["exponent"][0]), float(one["standard_error"][0])
    if status == "nonfinite":
        last = int(one["last_step"]) + int(ds.attrs["warm"])
        text = f"Training left the floating-point numbers in step {last + 1:,}: it diverged, so there is no "
        before = one["history"].values[:, 0]
        before = before[np.isfinite(before)]
        if not before.size:
            return [text + "exponent of these steps."]
        return [text + f"exponent of all of them. Up to there the largest was {_signed(before[-1])} per step."]
    if not math.isfinite(value):
        return ["A step removed every perturbation that was followed, so the exponent is minus infinity."]
    these = "this one step" if steps == 1 else f"these {steps:,} steps"
    text = f"The largest exponent over {these} is {_signed(value)} per step"
    text += f", with a standard error of {_plain(error)}. " if math.isfinite(error) else ". "
    change = value * steps
    # the monitor begins after the steps that are left out, exponents of an exact spectrum before them
    turned = int(ds.attrs["warm"]) if ds.attrs["method"] != "monitor" else 0
    drawn = f"that had turned with the training for the {turned} steps before" if turned else "drawn at random"
    if abs(math.expm1(max(-1.0, min(1.0, change)))) < NEGLIGIBLE:
        text += f"Neighbouring weights hardly separate or come together: a small difference {drawn} kept its size."
    elif value > 0:
        text += f"It is positive: neighbouring weights separate. A small difference {drawn} grew by "
        text += f"{_factor(change)}."
    else:
        text += f"It is negative: neighbouring weights come together. A small difference {drawn} shrank by "
        text += f"{_factor(-change)}."
    if ds.attrs["precision"] == "float32" and abs(value) < RESOLVED:
        text += " The number is below what float32 resolves."
    if math.isfinite(error) and abs(value) < 2 * error:
        text += " The standard error does not tell the exponent from zero."
    said = f"{STATUS[status][0].upper()}{STATUS[status][1:]}."
    turning = (
        f"The first perturbations are random and turn in the {turned} steps that are left out: the optimizer's empty "
        "memory stretches some directions there by orders of magnitude. Differences that arise later can grow more."
        if turned
        else "The first perturbations are random, and the steps in which they turn to the fastest directions count too."
    )
    return [f"{text} {said} {turning} None of this is a claim about the loss at which training ends."]


def _stability(ds: xr.Dataset) -> list[str]:
    """Curvature beside the one at which the optimizer would be unstable on a quadratic loss."""
    if "stable_sharpness" not in ds.attrs:
        return []
    most = float(ds.attrs["stable_sharpness"])
    if "sharpness_first" not in ds.attrs:
        return ["The sharpness was left out: finding it would take longer than the time that is allowed."]
    first, last = (float(ds.attrs[name]) for name in ("sharpness_first", "sharpness_last"))
    if not math.isfinite(first):
        return ["The sharpness is not known: the iteration that looks for it did not converge."]
    after = f"{last:.4g} after the last" if math.isfinite(last) else "not known after the last"
    return [
        f"The sharpness, the largest eigenvalue of the loss's Hessian, is {first:.4g} before the first step and "
        f"{after}. On a quadratic loss this optimizer at this rate stops converging at {most:.4g}."
    ]


def _facts(ds: xr.Dataset) -> list[tuple[str, str]]:
    steps, value = int(ds.attrs["steps"]), float(ds["exponent"][0, 0])
    losses = ds["loss"].values[0]
    there = losses[np.isfinite(losses)]
    shown = "none, it diverged" if math.isnan(value) else f"{_signed(value)} /step"
    facts = [(f"largest exponent of training over {_steps(steps)}", shown)]
    if there.size:
        facts.append(("loss, first to last of these steps", f"{there[0]:.3g} → {there[-1]:.3g}"))
    return facts


def _table(ds: xr.Dataset) -> Table:
    one = ds.isel(member=0)
    rows = [
        [
            str(int(one["index"][i])),
            _signed(float(one["exponent"][i])),
            _plain(float(one["standard_error"][i])),
            STATUS[s],
        ]
        for i, s in enumerate(_status(ds))
    ]
    return Table(["index", "exponent (1/step)", "standard error", "status"], rows, numbers=(0, 1, 2))


def _figures(context: Context, ds: xr.Dataset) -> list[Figure]:
    name, size = context.name, (4.8, 3.2)
    loss = draw(lambda ax: loss_history(ds, ax), size=size, alt="loss against the step", name=f"{name}-training-loss")
    lines = draw(
        lambda ax: exponent_histories(ds, ax),
        size=size,
        alt="finite-time exponents of training against the step",
        name=f"{name}-training-exponents",
    )
    window = int(ds["window_exponent"].attrs["window"])
    grey = f"of the last {window} steps" if window > 1 else "of each step"
    warm = int(ds.attrs["warm"])
    after = f", counted after the {warm} that are left out" if warm else ""
    return [
        Figure(
            lines, f"Exponents of all steps up to the one on the axis{after}; grey: the largest {grey} alone.", "half"
        ),
        Figure(loss, f"Loss of each step's batch, before the step{after}.", "half"),
    ]


def _status(ds: xr.Dataset) -> list[str]:
    names = flag_names(ds["status"].attrs)
    return [names[int(code)] for code in ds["status"].values[0]]


def _factor(change: float) -> str:
    return f"a factor of {math.exp(change):.3g}" if change < 30 else f"a factor of e^{change:.0f}"


def _steps(count: int) -> str:
    return f"{count:,} step" + "s" * (count != 1)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3g}".replace("-", "−")


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1g}".replace("-", "−")
