"""The command line: thin, and quick to answer; torch is imported only inside a command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from separatrix.results.errors import ArgumentError

EXIT_USAGE = 64
"""Exit code for arguments that cannot be used (EX_USAGE)."""
EXIT_SOFTWARE = 70
"""Exit code for failures of any other kind where small codes are answers (EX_SOFTWARE)."""

app = typer.Typer(
    name="separatrix",
    help="Neural networks as dynamical systems.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

MODEL = 'The model: "file.py:name" or "package.module:name" of a torch.nn.Module or a callable that returns one.'
DATA = '"disc", "digits", "mnist", "fashion-mnist", a folder of IDX files, "x.npz", or "file.py:callable".'
LOSS = 'Train a copy further, and add a section: "cross_entropy", "mse_loss", ..., or "file.py:callable".'

Weights = Annotated[str | None, typer.Option(help="A safetensors file, or a .pt state dict (no code in it is run).")]
Start = Annotated[
    str | None, typer.Option(help="Where perturbations enter, such as embedding#1, instead of the input.")
]
Output = Annotated[str | None, typer.Option(help="Key or position, where the model returns a dict or tuple.")]
Memory = Annotated[str, typer.Option(help="Budget, such as 512MB.")]
Seed = Annotated[int, typer.Option(help="Seed of data, training, and every choice of points.")]
Verify = Annotated[int, typer.Option(help="Points to check by central differences.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"separatrix {version('separatrix')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def ftle(
    model: Annotated[str, typer.Argument(help=MODEL)],
    weights: Weights = None,
    data: Annotated[str | None, typer.Option(help=f"Compute at test inputs of {DATA}")] = None,
    points: Annotated[int | None, typer.Option(min=1, help="At most so many test inputs.")] = None,
    grid: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="X0 X1 Y0 Y1", help="Compute on a grid, for models of two inputs."),
    ] = None,
    shape: Annotated[int, typer.Option(min=2, help="Points along each side of the grid.")] = 200,
    layers: Annotated[
        list[str] | None,
        typer.Option(help='"output", "hidden", "all", or labels (repeat the option). [default: output]'),
    ] = None,
    k: Annotated[str, typer.Option("-k", help='How many exponents, or "all".')] = "1",
    output: Output = None,
    start: Start = None,
    directions: Annotated[bool, typer.Option("--directions", help="Store singular directions.")] = False,
    memory: Memory = "512MB",
    verify: Verify = 3,
    seed: Seed = 0,
    out: Annotated[str, typer.Option(help="The netCDF file.")] = "field.nc",
    quiet: Quiet = False,
) -> None:
    """Compute exponents along depth, into a netCDF file."""
    from separatrix.report import write_field

    written = write_field(
        model,
        weights=weights,
        data=data,
        points=points,
        grid=grid,
        shape=shape,
        layers=layers or ["output"],
        k=k,
        output=output,
        start=start,
        directions=directions,
        memory=memory,
        verify=verify,
        seed=seed,
        out=out,
        progress=not quiet,
    )
    print("\n".join(written.lines))


@app.command()
def report(
    model: Annotated[str | None, typer.Argument(help=f"{MODEL} Without one, small networks are trained.")] = None,
    weights: Weights = None,
    data: Annotated[str | None, typer.Option(help=DATA)] = None,
    out: Annotated[str, typer.Option(help="The page; results are put beside it.")] = "report.html",
    layers: Annotated[
        list[str] | None, typer.Option(help='"hidden", "all", or labels (repeat the option). [default: all]')
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Exponents by layer.")] = 5,
    resolution: Annotated[int | None, typer.Option(min=2, help="Points along each side of a field.")] = None,
    points: Annotated[int, typer.Option(min=1, help="At most so many test inputs.")] = 400,
    seconds: Annotated[float, typer.Option(min=1, help="Time for a field; slow models get fewer points.")] = 45.0,
    loss: Annotated[str | None, typer.Option(help=LOSS)] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help='"sgd", "heavy-ball", "nesterov", "adam", "adamw" or "rmsprop". [default: sgd]'),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate. [default: 0.01; adam, adamw: 0.001]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of training. [default: by the time, 500 at most]")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of a step. [default: all, if time and memory allow]")] = None,
    output: Output = None,
    start: Start = None,
    memory: Memory = "512MB",
    verify: Verify = 3,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Write one HTML page from every instrument that fits."""
    from separatrix.report import Options, write
    from separatrix.report.field_files import output_key, selection

    options = Options(
        layers=selection(layers or ["all"]),
        output=output_key(output),
        start=start,
        k=k,
        resolution=resolution,
        points=points,
        seconds=seconds,
        verify=verify,
        memory=memory,
        seed=seed,
        loss=loss,
        optimizer=optimizer,
        rate=rate,
        steps=steps,
        batch=batch,
    )
    made = write(model, data, weights=weights, out=out, options=options, progress=not quiet)
    print(f"wrote {made.page} and {len(made.files)} netCDF files in {made.seconds:.0f} s")
    if made.failures:
        print(f"these parts could not be made, the page says why: {', '.join(made.failures)}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def study(
    name: Annotated[str | None, typer.Argument(help="The study; without one, all of them are listed.")] = None,
    scale: Annotated[str, typer.Option(help='"quick" or "paper".')] = "quick",
    out: Annotated[
        str | None, typer.Option(help="Folder for the page and the ledger. [default: studies/NAME-SCALE]")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Folder of finished runs, which are not run again. [default: OUT/store]")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="Only this part (repeat the option).")] = None,
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Rerun a paper, and print its claims beside what was measured."""
    from separatrix.studies import run_study, studies

    if name is None:
        for each in studies().values():
            print(f"{each.name}  {each.title} ({len(each.claims)} claims, {len(each.parts)} parts)")
        return
    from separatrix.studies.tables import plain

    made = run_study(name, scale=scale, out=out, store=store, parts=part, seed=seed, progress=not quiet)
    print(plain(made.ledger))
    names = ", ".join(path.name for path in made.files)
    print(f"wrote {made.page}, {names} and {len(made.pictures)} figures in {made.seconds:.0f} s")
    if made.failures:
        print(f"these parts failed, the page says why: {', '.join(made.failures)}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def certify(
    model: Annotated[str, typer.Argument(help=f"{MODEL} Or a system, such as sx.Loop, of that name.")],
    statement: Annotated[
        str | None, typer.Argument(help='"contraction", "stability", "boundedness" or "lipschitz".')
    ] = None,
    weights: Weights = None,
    at: Annotated[str | None, typer.Option(help="A point near an equilibrium, such as --at=0.1,-2.")] = None,
    box: Annotated[str | None, typer.Option(help="States: corners, such as --box=-1:1 or --box=-1,-2:1,2.")] = None,
    u_box: Annotated[str | None, typer.Option(help="Inputs of a loop: corners, as for --box.")] = None,
    norm: Annotated[str, typer.Option(help='"best", "1", "2", "inf" or "P".')] = "best",
    budget: Annotated[float | None, typer.Option(help="Seconds. [default: 60]")] = None,
    out: Annotated[str | None, typer.Option(help="A JSON file for the certificate.")] = None,
    check: Annotated[str | None, typer.Option(help="Verify this certificate anew instead.")] = None,
) -> None:
    """Prove a statement about x+ = f(x), or refute it: exit code 0 certified, 1 refuted, 2 unknown.

    A certificate that does not --check exits 2; 64 and above are errors of usage and failures.
    """
    import traceback

    try:
        from separatrix.report.certificate_files import certify_file

        lines, code = certify_file(
            model, statement, weights=weights, at=at, box=box, u_box=u_box, norm=norm, budget=budget, out=out,
            check=check,
        )  # fmt: skip
    except ArgumentError:
        raise
    except Exception:
        traceback.print_exc()
        raise typer.Exit(EXIT_SOFTWARE) from None
    print("\n".join(lines))
    raise typer.Exit(code)


sweeps = typer.Typer(help="Look after a run store.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sweeps, name="sweep")

RunStore = Annotated[str, typer.Argument(metavar="STORE", help="Folder of the run store.")]


@sweeps.command()
def status(store: RunStore) -> None:
    """Say what is done, failed, running and missing, and write the index anew."""
    from separatrix.sweeps.summary import status_lines

    print("\n".join(status_lines(store)))


@sweeps.command()
def resume(
    store: RunStore,
    engine: Annotated[str, typer.Option(help='"local", "dask", or the address of a Dask scheduler.')] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one a core]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads in each worker. [default: as before]")] = None,
    quiet: Quiet = False,
) -> None:
    """Compute what is missing, and try again what failed."""
    from separatrix.sweeps.summary import resume_lines

    try:
        lines, complete = resume_lines(store, engine=engine, workers=workers, threads=threads, progress=not quiet)
    except OSError as error:
        print(f"separatrix: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print("\n".join(lines))
    if not complete:
        raise typer.Exit(1)


@sweeps.command()
def collect(
    store: RunStore,
    out: Annotated[str, typer.Option(help="The netCDF file.")] = "collected.nc",
    task: Annotated[str | None, typer.Option(help="module:name, where the store holds several tasks.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the task. [default: the last]")] = None,
    missing: Annotated[str, typer.Option(help='"refuse", or "nan" in place of what is missing.')] = "refuse",
) -> None:
    """Combine the results of the last sweep into one netCDF file."""
    from separatrix.sweeps.summary import collect_lines

    print("\n".join(collect_lines(store, out, task=task, version=version, missing=missing)))


def main() -> None:
    """Run the command line; arguments that cannot be used end in one message and exit code 64."""
    # the base of all errors of usage, wherever typer keeps it
    usage: type = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
    usage.exit_code = EXIT_USAGE  # type: ignore[attr-defined]
    try:
        app()
    except ArgumentError as error:
        print(f"separatrix: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
