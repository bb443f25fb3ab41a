"""A disk that takes no more: said clearly, nothing half-written, nothing lost."""

import os
import subprocess

import pytest
from sweep_tasks import large

from separatrix.sweeps import Store, sweep

PER_RUN = 20_000
"""Numbers in a result: 160 kB."""


def mounted(folder, size):
    return (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
        ).returncode
        == 0
    )


def can_mount(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mount")
    if os.geteuid() != 0 or not mounted(folder, "64k"):
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


def grid(bench, sizes):
    return [{"n": n, "size": size, "log": str(bench.log)} for n, size in enumerate(sizes)]


def assert_nothing_half_written(bench):
    assert [p for p in bench.store.rglob("*") if p.suffix == ".tmp"] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(bench, tmp_path_factory, workers):
    bench.store.mkdir()
    wanted = grid(bench, [PER_RUN] * 6)
    if mount := can_mount(tmp_path_factory):
        assert mounted(bench.store, "600k")
        limit = 0
    else:  # a system that lets nobody mount: files cannot grow, for all processes of the sweep
        limit, wanted[3]["size"] = 2 * 8 * PER_RUN, 10 * PER_RUN
    try:
        stopped = bench.start("large", wanted, workers=workers, file_limit=limit)
        stopped.end(1)
        assert ("No space left on device" if mount else "File too large") in stopped.said
        assert "OSError" in stopped.said and "the store cannot be written" in stopped.said
        assert f"separatrix sweep resume {bench.store}" in stopped.said
        assert_nothing_half_written(bench)
        store = Store(bench.store, task=large)
        kept = [config.n for config in store._grid(wanted).configs if store.has(config)]
        assert 0 < len(kept) < 6 and f"{len(kept)} of 6 runs are stored" in stopped.said
        if mount:
            subprocess.run(["mount", "-o", "remount,size=8m", str(bench.store)], check=True)
        again = sweep(large, wanted, store=bench.store, workers=1)
        assert (len(again.done), again.computed) == (6, 6 - len(kept))
        assert all(bench.counts("begun")[n] == 1 for n in kept)
        assert store.missing(wanted) == []
        bench.assert_clean()
    finally:
        if mount:
            subprocess.run(["umount", "-l", str(bench.store)], check=True)


def test_a_file_that_may_not_grow(bench):
    sizes = [PER_RUN] * 2 + [10 * PER_RUN] + [PER_RUN]
    stopped = bench.start("large", grid(bench, sizes), workers=1, file_limit=2 * 8 * PER_RUN)
    stopped.end(1)
    assert "File too large" in stopped.said and "2 of 4 runs are stored" in stopped.said
    bench.assert_clean()
    again = sweep(large, grid(bench, sizes), store=bench.store, workers=1)
    assert (len(again.done), again.computed) == (4, 2)
    assert bench.counts("begun") == {0: 1, 1: 1, 2: 2, 3: 1}
