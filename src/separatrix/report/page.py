"""The page: models, their sections, and one self-contained HTML file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from separatrix.data.record import Problem
from separatrix.data.sources import load
from separatrix.figures.pages import render
from separatrix.report import along_training as _along_training  # noqa: F401  (registers its section)
from separatrix.report import depth as _depth  # noqa: F401  (registers its section)
from separatrix.report import geometry as _geometry  # noqa: F401  (registers its section)
from separatrix.report import iteration as _iteration  # noqa: F401  (registers its section)
from separatrix.report.answers import evaluating, looks_like_classes, quality, shaped
from separatrix.report.context import Context, Options, say
from separatrix.report.document import Chapter
from separatrix.report.loading import load_model, load_weights
from separatrix.report.registry import sections
from separatrix.report.training import fit
from separatrix.report.training_recipe import refuse_unfit, training_recipe
from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress
from separatrix.results.provenance import describe_model, environment
from separatrix.tangent.ftle import ftle

DEMONSTRATION = ("disc", "digits")


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    page : Path
    files : list of Path
        The results, as netCDF.
    failures : list of str
        Titles of the parts that could not be made; the page says why.
    seconds : float
    """

    page: Path
    files: list[Path]
    failures: list[str]
    seconds: float


def write(
    model: nn.Module | Callable[..., Any] | str | None = None,
    data: str | Path | Problem | tuple[Any, Any] | None = None,
    *,
    weights: str | Path | None = None,
    out: str | Path = "report.html",
    options: Options | None = None,
    progress: Progress = False,
) -> Report:
    """Run every instrument that fits a model, and write one self-contained HTML page and the results.

    Parameters
    ----------
    model : nn.Module, callable or str, optional
        The model, or a reference to it (``file.py:name``, ``package.module:name``). A module is looked at in evaluation
        mode and left as it was. Without a model a small network is trained on the data.
    data : str, Path, Problem or (X, y), optional
        See :func:`separatrix.data.load`. Without data and model: the disc, and scikit-learn's digits.
    weights : str or Path, optional
        A safetensors file or a state dict for the model.
    out : str or Path
        The page; the netCDF files are put beside it under the same stem.
    options : Options, optional
        Resolution, number of points, memory, seed and the like.
    progress : bool or callable
        Bars on stderr, or a function of (done, total).

    Returns
    -------
    Report

    Raises
    ------
    ArgumentError
        If the model, weights, data, loss or ``out`` cannot be used. What goes wrong later is told on the page instead.
    """
    began = time.perf_counter()
    options = options or Options()
    asked = training_recipe(options)
    if asked is not None:
        options = replace(options, loss=asked.loss)
    page = Path(out).expanduser()
    if page.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError("out", repr(str(out)), "give a file name that ends with .html")
    if model is None and weights is not None:
        raise ArgumentError("weights", repr(str(weights)), "name the model that they belong to")
    if model is not None and data is None:
        raise ArgumentError("data", "nothing", 'name the data that the model is for, such as "digits" or "x.npz"')
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError("out", repr(str(out)), f"the folder cannot be made ({error})") from error

    chapters = []
    for source in DEMONSTRATION if data is None else (data,):
        problem = load(source, seed=options.seed)
        training_recipe(options, problem)
        say(progress, f"{problem.name}: {problem.description}")
        if model is None:
            trained = fit(problem, seed=options.seed, progress=progress)
            made, recipe = trained.model, [trained.recipe]
        else:
            made, recipe = _given(model, weights)
        chapters.append(_chapter(made, problem, recipe, options, page, progress, trained=model is None))
    seconds = time.perf_counter() - began
    page.write_text(_render(chapters, seconds, demonstration=data is None), encoding="utf-8")
    failures = [title for chapter in chapters for section in chapter.sections for title in section.failures()]
    files = [page.parent / name for chapter in chapters for name in chapter.files]
    return Report(page, files, failures, seconds)


def _given(model: nn.Module | Callable[..., Any] | str, weights: str | Path | None) -> tuple[Any, list[str]]:
    """Model with its weights, and the sentences on where it came from."""
    if isinstance(model, str):
        came = f"{model}" + (f", weights from {Path(weights).name}" if weights is not None else "")
        without = "" if weights is not None else " No weights were given: the model is as its own code made it."
        return load_model(model, weights), [f"Loaded from {came}.{without}"]
    if weights is not None:
        if not isinstance(model, nn.Module):
            raise ArgumentError("weights", repr(str(weights)), "weights can be put into a torch.nn.Module only")
        load_weights(model, weights)
    return model, []


def _chapter(
    model: Any, problem: Problem, prose: list[str], options: Options, page: Path, progress: Progress, *, trained: bool
) -> Chapter:
    notes = []
    with evaluating(model) as switched:
        if switched:
            notes.append("The model was in training mode; for this report it was put in evaluation mode.")
        fitting = shaped(problem, model, options)
        _check(model, fitting, options)
        if fitting.input_shape != problem.input_shape:
            shape = "×".join(map(str, fitting.input_shape))
            notes.append(f"The images were reshaped to {shape}, which is what the model takes.")
        if fitting.X_test.dtype != problem.X_test.dtype:
            notes.append("The inputs are whole numbers, which the model does not take: they became floating point.")
        if looks_like_classes(problem):
            notes.append(
                "The targets were not taken for classes, which are whole numbers from 0, of shape (n,): if they are "
                "classes, convert them; otherwise accuracy and boundary are left out."
            )
        name = re.sub(r"[^a-z0-9]+", "-", problem.name.lower()).strip("-") or "data"
        context = Context(name, model, fitting, options, page.parent, page.stem, progress)
        if not trained:  # a network of the page's own may suit one of its data sets alone
            refuse_unfit(context)
        described = describe_model(model)
        facts = quality(context)
        if "parameters" in described:
            facts.append(("parameters", f"{described['parameters']:,}"))
        made = sections(context)
    facts += [fact for section in made for fact in section.facts]
    for section in made:
        section.facts = []
    title = f"{'Multilayer perceptron' if trained else described['class']} on {problem.name}"
    return Chapter(
        name,
        title,
        [f"Data: {problem.description}" + "." * (problem.description[-1:] not in ".?!"), *prose],
        facts,
        notes,
        made,
        context.files,
    )


def _check(model: Any, problem: Problem, options: Options) -> None:
    """Refuse options that no section could use, by a trial on two points; of all layers, sections choose some."""
    layers = "output" if options.layers == "all" else options.layers
    try:
        ftle(model, problem.X_test[:2], **options.ftle() | {"verify": 0, "layers": layers})
    except ArgumentError as error:
        if error.argument in ("layers", "start", "output", "memory", "inputs"):
            raise
    except Exception:
        return  # what is wrong with the model is for the page to tell


def _render(chapters: list[Chapter], seconds: float, *, demonstration: bool) -> str:
    drawn = "".join(str(figure.svg) for chapter in chapters for section in chapter.sections for figure in _all(section))
    return render(
        "separatrix.report",
        "page.html",
        drawn=drawn,
        chapters=chapters,
        demonstration=demonstration,
        environment=environment(),
        seconds=f"{seconds:.0f}",
    )


def _all(section: Any) -> list[Any]:
    return [*section.figures, *(figure for child in section.children for figure in _all(child))]
