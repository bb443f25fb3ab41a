"""What a sweep does with its tasks: once each, failures recorded, versions kept apart, clear refusals."""

import functools
import subprocess
import sys

import pytest
import sweep_tasks
import torch
from sweep_tasks import answer, failing, limits, marked, simple

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.sweeps import Config, resume, sweep, task
from separatrix.sweeps.tasks import describe


@pytest.mark.parametrize("workers", [1, 2])
def test_every_run_is_computed_once(bench, workers):
    seen = []
    made = sweep(
        simple,
        bench.grid(4),
        store=bench.store,
        workers=workers,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (len(made), len(made.done), made.computed, made.failed) == (4, 4, 4, ())
    assert seen == [(n, 4) for n in (1, 2, 3, 4)] and made.seconds > 0
    for config, found in made:
        assert found.drop_attrs().identical(answer(config).drop_attrs())
    wider = sweep(simple, bench.grid(6), store=bench.store, workers=workers)
    assert wider.computed == 2 and len(wider.done) == 6
    assert bench.counts("begun") == dict.fromkeys(range(6), 1)
    bench.assert_clean()


def test_failures_are_recorded_and_retried(bench):
    with pytest.warns(SeparatrixWarning, match="2 of 4 runs failed, the first with RuntimeError: run 1"):
        made = sweep(failing, bench.grid(4), store=bench.store, workers=1)
    assert [c.n for c in made.done] == [0, 2] and [f.config.n for f in made.failed] == [1, 3]
    assert "in failing\n" in made.failed[0].traceback and made.failed[0].attempts == 1
    assert [c.n for c in made.store.missing()] == [1, 3] and len(made.store.failed()) == 2
    with pytest.raises(ArgumentError, match="failed with RuntimeError: run 1"):
        made.load(made.grid.configs[1])
    with pytest.warns(SeparatrixWarning):
        left = sweep(failing, bench.grid(4), store=bench.store, workers=1, retry=False)
    assert bench.counts("begun")[1] == 1 and left.failed == made.failed
    with pytest.warns(SeparatrixWarning):
        again = sweep(failing, bench.grid(4), store=bench.store, workers=1)
    assert bench.counts("begun") == {0: 1, 1: 2, 2: 1, 3: 2} and again.failed[0].attempts == 2
    (bench.log / "repaired").touch()
    repaired = sweep(failing, bench.grid(4), store=bench.store, workers=1)
    assert repaired.computed == 2 and repaired.store.failed() == [] and repaired.store.missing() == []
    assert list((bench.store / "runs").glob("*.failed.json")) == []


def test_a_task_that_leaves_is_a_failure(bench):
    with pytest.warns(SeparatrixWarning, match="SystemExit: enough"):
        made = sweep(sweep_tasks.leaving, {"n": [1]}, store=bench.store, workers=1)
    assert len(made.failed) == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("array", "returned ndarray"),
        ("variable", r"returned DataArray; .*to_dataset"),
        ("none", "returned NoneType"),
        ("attribute", "attribute 'unit' of variable 'y' is NoneType"),
        ("flag", "attribute 'converged' of the Dataset is bool"),
        ("objects", "cannot be saved as netCDF"),
    ],
)
def test_results_that_cannot_be_stored_are_failures_that_say_why(bench, kind, words):
    with pytest.warns(SeparatrixWarning, match=words):
        made = sweep(sweep_tasks.wrong, {"kind": [kind]}, store=bench.store, workers=1)
    assert made.done == ()
    bench.assert_clean()


def test_a_version_is_part_of_the_identity(bench):
    grid = bench.grid(2)
    assert sweep(simple, grid, store=bench.store, workers=1, version="a").computed == 2
    assert sweep(simple, grid, store=bench.store, workers=1, version="a").computed == 0
    assert sweep(simple, grid, store=bench.store, workers=1, version=2).computed == 2
    assert sweep(marked, grid, store=bench.store, workers=1).store.version == "7"
    with pytest.raises(ArgumentError, match="marked as version '7'"):
        sweep(marked, grid, store=bench.store, workers=1, version="8")


def test_threads_are_limited_and_put_back(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = sweep(limits, {"n": [1]}, store=tmp_path / "here", workers=1, threads=1)
        assert torch.get_num_threads() == 2
        there = sweep(limits, {"n": [1]}, store=tmp_path / "there", workers=2, threads=1)
    finally:
        torch.set_num_threads(before)
    found = here.load({"n": 1})
    assert (int(found.most), int(found.torch)) == (1, 1)
    found = there.load({"n": 1})
    assert (int(found.omp), int(found.most), int(found.torch)) == (1, 1, -1)


def nested():
    def inner(config):
        return answer(config)

    return inner


class Callable:
    def __call__(self, config):
        return answer(config)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda config: answer(config), "a lambda"),
        (nested(), "a function inside a function"),
        (functools.partial(simple), "no name of its own"),
        (Callable(), "no name of its own"),
        ("simple", "str 'simple'"),
    ],
)
def test_tasks_that_no_process_can_import_are_refused(tmp_path, function, words, as_user):
    with pytest.raises(ArgumentError, match=words) as caught:
        sweep(function, {"n": [1]}, store=tmp_path / "store")
    assert caught.value.argument == "task" and not (tmp_path / "store").exists()


def test_a_redefined_task_is_refused():
    def stale(config):
        return answer(config)

    stale.__module__, stale.__qualname__ = "sweep_tasks", "simple"
    with pytest.raises(ArgumentError, match="not what sweep_tasks calls"):
        describe(stale)


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"engine": "slurm"}, "engine"),
        ({"engine": 3}, "engine"),
        ({"workers": 0}, "workers"),
        ({"threads": 1.5}, "threads"),
        ({"version": 1.5}, "version"),
        ({"grid": {}}, "grid"),
        ({"engine": "tcp://127.0.0.1:1", "workers": 2}, "workers"),
    ],
)
def test_unusable_arguments(tmp_path, changed, argument, as_user):
    asked = {"grid": {"n": [1]}, "store": tmp_path / "store"} | changed
    with pytest.raises(ArgumentError) as caught:
        sweep(simple, asked.pop("grid"), **asked)
    assert caught.value.argument == argument


def test_a_version_mark_needs_its_version(as_user):
    with pytest.raises(TypeError):
        task(simple)
    assert task(version=3)(nested()).sweep_version == "3"


SCRIPT = """
import numpy as np
import xarray as xr
from separatrix.sweeps import sweep

def helper(n):
    return np.arange(n)

def work(config):
    return xr.Dataset({"y": ("x", helper(config.n) * 2)})
"""
CALL = 'sweep(work, {"n": [2, 3]}, store="store", workers=2)'


def run(*command, cwd):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=200)


def test_a_task_of_a_script_and_its_resumption(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT + f'if __name__ == "__main__":\n    print({CALL}.computed)\n')
    first = run("script.py", cwd=tmp_path)
    assert first.stdout == "2\n", first.stderr
    next((tmp_path / "store/runs").glob("*.nc")).unlink()
    program = "from separatrix.cli import main; main()"
    (tmp_path / "elsewhere").mkdir()
    resumed = run("-c", program, "sweep", "resume", "../store", "--workers", "1", "-q", cwd=tmp_path / "elsewhere")
    assert "script:work version 1: 2 done (1 computed now), 0 failed" in resumed.stdout, resumed.stderr
    (tmp_path / "script.py").rename(tmp_path / "moved.py")
    path = list(sys.path)
    with pytest.raises(ArgumentError, match=r"script:work of .*script.py, which cannot be imported"):
        resume(tmp_path / "store")
    assert sys.path == path


def test_a_module_that_starts_its_sweep_when_imported_is_refused(tmp_path):
    (tmp_path / "unguarded.py").write_text(SCRIPT + CALL.replace("workers=2", "workers=1"))
    assert run("unguarded.py", cwd=tmp_path).returncode == 0
    with pytest.raises(ArgumentError, match='if __name__ == "__main__"'):
        resume(tmp_path / "store")


def test_a_config_is_all_that_a_task_gets():
    assert answer(Config({"n": 2})).y.values.tolist() == [0, 2, 4]


def test_what_hands_out_runs_is_quick_to_import(tmp_path):
    code = "import sys, separatrix.sweeps as s; s.sweep, s.collect, s.Store; print(*sys.modules)"
    loaded = set(run("-c", code, cwd=tmp_path).stdout.split())
    assert "separatrix.sweeps.engines" in loaded and not loaded & {"torch", "xarray", "joblib", "distributed", "pandas"}
