"""Processes die and sweeps go on: no finished run is lost, none is computed twice, nothing is half-written."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from sweep_tasks import answer, deadly, gated, wait_for

from separatrix.results.errors import SeparatrixWarning
from separatrix.sweeps import Config, Store, resume, sweep
from separatrix.sweeps.summary import status_lines


def assert_whole(bench, task, count):
    store = Store(bench.store, task=task)
    grid = bench.grid(count)
    assert store.missing(grid) == [] and store.failed(grid) == []
    for n in range(count):
        config = Config({"n": n, "log": str(bench.log)})
        found = store.load(config)
        assert found.drop_attrs().identical(answer(config).drop_attrs())
    assert len(list((bench.store / "runs").glob("*.nc"))) == count
    bench.assert_clean()


def test_a_worker_is_killed(bench):
    with ThreadPoolExecutor(1) as beside:
        sweeping = beside.submit(sweep, gated, bench.grid(6), store=bench.store, workers=2)
        workers = bench.wait_until("begun", 2, 3)
        os.kill(workers[2], signal.SIGKILL)
        bench.open_gate()
        made = sweeping.result()
    assert (len(made.done), made.computed, made.failed) == (6, 6, ())
    # the first two were stored; another one may have been under way in the worker that joblib ends along with it
    assert bench.counts("begun")[0] == bench.counts("begun")[1] == 1 and bench.counts("begun")[2] == 2
    assert max(bench.counts("begun").values()) == 2
    assert_whole(bench, gated, 6)


def test_a_run_that_kills_its_workers_is_found_out(bench):
    with pytest.warns(SeparatrixWarning, match="1 of 8 runs failed, the first with worker died"):
        made = sweep(deadly, bench.grid(8), store=bench.store, workers=2)
    assert (len(made.done), made.computed, bench.counts("begun")[3]) == (7, 7, 3)
    bench.assert_clean()
    index = (bench.store / "index.tsv").read_text().splitlines()
    assert len(index) == 9 and sum("\tfailed\t" in line and "worker died" in line for line in index) == 1


def test_the_parent_is_killed_and_its_workers_leave(bench):
    driven = bench.start("gated", bench.grid(6))
    workers = bench.wait_until("begun", 2, 3)
    driven.process.kill()
    driven.end(-signal.SIGKILL)
    bench.open_gate()
    bench.wait_gone(workers.values())
    # what was under way has been finished and stored, and nothing new was begun
    assert bench.counts("ended") == dict.fromkeys(range(4), 1)
    (resumed,) = resume(bench.store, workers=1)
    assert (len(resumed.done), resumed.computed, resumed.failed) == (6, 2, ())
    assert bench.counts("begun") == bench.counts("ended") == dict.fromkeys(range(6), 1)
    assert_whole(bench, gated, 6)


def test_everything_is_killed(bench):
    driven = bench.start("gated", bench.grid(6))
    bench.wait_until("begun", 2, 3)
    driven.kill_all()
    half = bench.store / "runs" / f"{Store(bench.store).key({'n': 5, 'log': str(bench.log)})}.nc.1234.tmp"
    half.write_bytes(b"\x89HDF")
    bench.open_gate()
    again = sweep(gated, bench.grid(6), store=bench.store, workers=1)
    assert (len(again.done), again.computed, again.failed) == (6, 4, ())
    assert bench.counts("ended") == dict.fromkeys(range(6), 1)
    assert bench.counts("begun")[0] == bench.counts("begun")[1] == 1
    assert_whole(bench, gated, 6)


def test_two_sweeps_on_one_store_share_the_work(bench):
    pair = [bench.start("gated", bench.grid(12)), bench.start("gated", bench.grid(12))]
    wait_for(lambda: len({process for _, process in bench.logged("begun")}) == 4, "four workers at work")
    bench.open_gate()
    ended = [driven.end() for driven in pair]
    assert [each["done"] for each in ended] == [12, 12] and sum(each["computed"] for each in ended) == 12
    assert bench.counts("begun") == bench.counts("ended") == dict.fromkeys(range(12), 1)
    assert_whole(bench, gated, 12)


def test_a_sweep_takes_over_from_one_that_dies(bench):
    first = bench.start("gated", {"n": [2], "log": [str(bench.log)]}, workers=1)
    bench.wait_until("begun", 2)
    second = bench.start("gated", bench.grid(3), workers=1)
    bench.wait_until("ended", 0, 1)
    assert "1 running" in " ".join(status_lines(bench.store)) and bench.counts("begun")[2] == 1
    first.kill_all()
    wait_for(lambda: bench.counts("begun")[2] == 2, "the run to be taken over")
    bench.open_gate()
    assert second.end() == {"done": 3, "failed": 0, "computed": 3}
    assert_whole(bench, gated, 3)


@pytest.mark.parametrize("how", ["the parent alone", "everybody", "in the process itself"])
def test_control_c(bench, how):
    driven = bench.start("gated", bench.grid(6), workers=1 if how == "in the process itself" else 2)
    processes = bench.wait_until("begun", *((2,) if how == "in the process itself" else (2, 3))).values()
    if how == "everybody":
        os.killpg(driven.process.pid, signal.SIGINT)
    else:
        driven.interrupt()
    driven.process.wait(200)
    assert driven.process.returncode not in (0, None)
    assert "interrupted; 2 of 6 runs are stored" in driven.said
    assert f"separatrix sweep resume {bench.store}" in driven.said
    bench.wait_gone(processes)
    bench.assert_clean()
    bench.open_gate()
    again = sweep(gated, bench.grid(6), store=bench.store, workers=1)
    assert (len(again.done), again.computed, again.failed) == (6, 4, ())
    assert bench.counts("ended") == dict.fromkeys(range(6), 1)
    assert_whole(bench, gated, 6)


def inside(bench):
    made = sweep(gated, bench.grid(2), store=bench.store, workers=2)
    (bench.log / "returned").write_text(f"{made.computed} {os.getpid()}\n")


def test_a_sweep_inside_a_worker_stays_in_it(bench):
    # a daemon may have no processes of its own; joblib then computes in it
    daemon = multiprocessing.get_context("fork").Process(target=inside, args=(bench,), daemon=True)
    daemon.start()
    daemon.join(200)
    assert daemon.exitcode == 0 and bench.logged("returned") == [(2, daemon.pid)]
