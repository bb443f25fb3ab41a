"""What a run store says of itself in a terminal."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.sweeps import files
from separatrix.sweeps.folder import Folder
from separatrix.sweeps.grids import Grid
from separatrix.sweeps.index import write_index
from separatrix.sweeps.running import resume
from separatrix.sweeps.runstore import Store

SHOWN = 5
"""So many failures are shown for each sweep."""


def status_lines(path: str | Path) -> list[str]:
    """One paragraph for every sweep: how many runs are done, failed, running and missing, and the first errors.

    Cost: every result is read once, for its checksum. The index is written anew.

    Raises
    ------
    ArgumentError
        If there is no store.
    """
    folder = Folder.open(path, create=False)
    lines = []
    running = folder.running()
    for name, record in folder.sweeps().items():
        source, grid = record["task"], Grid.from_json(record["grid"])
        store = Store(path, task=f"{source['module']}:{source['qualname']}", version=record["version"])
        keys = {config: store.key(config) for config in grid.configs}
        done = {config for config in grid.configs if store.has(config)}
        failed = [failure for failure in store.failed(grid) if keys[failure.config] not in running]
        active = sum(keys[config] in running for config in grid.configs if config not in done)
        corrupt = sum(folder.result(keys[config]).exists() for config in grid.configs if config not in done)
        left = len(grid.configs) - len(done) - len(failed) - active
        lines.append(f"{store.task} version {store.version} (sweep {name}, started {record['started']})")
        counts = f"{len(done)} done, {len(failed)} failed, {active} running, {left} missing"
        lines.append(f"  {len(grid.configs)} runs: {counts}" + (f", {corrupt} of them corrupt" if corrupt else ""))
        lines += [f"  failed: {failure.config!r}: {failure.error}" for failure in failed[:SHOWN]]
        if len(failed) > SHOWN:
            lines.append(f"  and {len(failed) - SHOWN} more failures")
    lines.append(f"index: {write_index(folder)}")
    if not folder.sweeps():
        lines.insert(0, "no sweep has been run into this store")
    return lines


def resume_lines(path: str | Path, **options: Any) -> tuple[list[str], bool]:
    """Complete the sweeps of a store; what there is to say, and whether nothing failed.

    Raises
    ------
    ArgumentError, OSError
        See :func:`separatrix.sweeps.resume`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SeparatrixWarning)
        ended = resume(path, **options)
    lines = [str(warning.message) for warning in caught]
    for made in ended:
        counts = f"{len(made.done)} done ({made.computed} computed now), {len(made.failed)} failed"
        lines.append(f"{made.store.task} version {made.store.version}: {counts}, in {made.seconds:.1f} s")
    return lines, not any(made.failed for made in ended)


def collect_lines(
    path: str | Path, out: str | Path, *, task: str | None, version: str | None, missing: str
) -> list[str]:
    """Write the collected results of a store's last sweep into a netCDF file; what there is to say.

    Raises
    ------
    ArgumentError
        See :func:`separatrix.sweeps.collect`; or if there is no folder to write into.
    """
    from separatrix.sweeps.collecting import collect

    target = Path(out).expanduser()
    if not target.parent.is_dir():
        raise ArgumentError("out", repr(str(out)), f"there is no folder {target.parent}; make it first")
    found = collect(Store(path, task=task, version=version), missing=missing)
    files.write_whole(target, files.to_bytes(found))
    sizes = ", ".join(f"{name} {size}" for name, size in found.sizes.items())
    return [f"wrote {target}: {', '.join(map(str, found.data_vars))} over {sizes}"]
