"""The same sweep on a Dask cluster of two worker processes."""

import os
import signal
import threading

import dask
import pytest
from distributed import Client, LocalCluster
from sweep_tasks import answer, deadly, failing, gated, simple

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.sweeps import sweep


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as made,
    ):
        yield made


def test_results_are_those_of_the_local_engine(bench, cluster, tmp_path):
    (bench.log / "repaired").touch()
    with Client(cluster) as client:
        made = sweep(failing, bench.grid(6), store=bench.store, engine=client)
        assert made.computed == 6 and len({process for _, process in bench.logged("begun")}) == 2
        assert os.getpid() not in {process for _, process in bench.logged("begun")}
        assert client.status == "running"
    local = sweep(failing, bench.grid(6), store=tmp_path / "local", workers=1)
    for config in local.done:
        assert made.load(config).drop_attrs().identical(local.load(config).drop_attrs())
    assert sweep(failing, bench.grid(6), store=bench.store, engine=cluster.scheduler_address).computed == 0
    bench.assert_clean()


def test_failures_come_with_their_traceback(bench, cluster):
    with pytest.warns(SeparatrixWarning, match="2 of 4 runs failed"):
        made = sweep(failing, bench.grid(4), store=bench.store, engine=cluster)
    assert len(made.done) == 2 and "run 1 has gone wrong" in made.failed[0].traceback


def test_a_worker_is_killed(bench, cluster):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(sweep(gated, bench.grid(6), store=bench.store, engine=cluster.scheduler_address))
    )
    thread.start()
    workers = bench.wait_until("begun", 2, 3)
    bench.wait_until("ended", 0, 1)
    os.kill(workers[2], signal.SIGKILL)
    bench.open_gate()
    thread.join(90)
    (made,) = found
    assert len(made.done) == 6 and made.failed == () and made.computed == 6
    assert bench.counts("ended") == dict.fromkeys(range(6), 1) and bench.counts("begun")[2] == 2
    assert made.load(made.done[5]).drop_attrs().identical(answer(made.done[5]).drop_attrs())
    bench.assert_clean()


def test_a_run_that_kills_its_workers_is_found_out(bench, cluster):
    with pytest.warns(SeparatrixWarning, match="1 of 6 runs failed, the first with worker died"):
        made = sweep(deadly, bench.grid(6), store=bench.store, engine=cluster)
    assert [config.n for config in made.done] == [0, 1, 2, 4, 5]
    assert bench.counts("begun")[3] == 2
    bench.assert_clean()


def test_a_cluster_of_its_own(bench):
    made = sweep(simple, bench.grid(4), store=bench.store, engine="dask", workers=2)
    assert made.computed == 4 and os.getpid() not in {process for _, process in bench.logged("begun")}
    bench.wait_gone({process for _, process in bench.logged("begun")})


def test_an_address_where_nobody_answers(bench):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ArgumentError, match="start the scheduler there first"),
    ):
        sweep(simple, bench.grid(1), store=bench.store, engine="tcp://127.0.0.1:9")
