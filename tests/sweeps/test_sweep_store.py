"""The run store: whole files, checksums, locks."""

import json
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sweep_tasks
import xarray as xr
from sweep_tasks import answer, simple, wait_for

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.sweeps import Config, Store, locks, sweep
from separatrix.sweeps.files import from_bytes, to_bytes, write_whole
from separatrix.sweeps.locks import Lock, is_held


@pytest.fixture
def filled(bench):
    made = sweep(simple, bench.grid(4), store=bench.store, workers=1)
    return bench, made


def result(made, n):
    return made.path / "runs" / f"{made.store.key(made.grid.configs[n])}.nc"


def test_a_result_is_one_plain_netcdf_file(filled):
    _, made = filled
    config = made.grid.configs[3]
    with xr.open_dataset(result(made, 3)) as plain:
        assert plain.drop_attrs().identical(answer(config).drop_attrs())
        assert plain.attrs["about"] == "an answer"
        run = json.loads(plain.attrs["sweep_run"])
    beside = json.loads(result(made, 3).with_suffix(".json").read_text())
    assert run.items() <= beside.items()
    assert run["config"] == dict(config) and run["task"] == "sweep_tasks:simple" and run["version"] == "1"
    assert made.load(config).identical(made.store.load(dict(config)))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "text", "of another run"])
@pytest.mark.parametrize("beside", ["with its record", "without"])
def test_a_corrupt_result_is_set_aside_and_computed_again(filled, damage, beside):
    if (damage, beside) == ("flipped", "without"):
        damage = "truncated"  # one bit of a number can be found by the checksum only
    bench, made = filled
    path = result(made, 1)
    data = bytearray(path.read_bytes())
    data[data.index(answer(made.grid.configs[1]).y.values.tobytes())] ^= 1
    path.write_bytes(
        {
            "flipped": bytes(data),
            "truncated": path.read_bytes()[:-100],
            "empty": b"",
            "text": b"not a result",
            "of another run": result(made, 2).read_bytes(),
        }[damage]
    )
    if beside == "without":
        path.with_suffix(".json").unlink()
    damaged = path.read_bytes()
    assert made.store.missing() == [made.grid.configs[1]]
    with pytest.warns(SeparatrixWarning, match=r"set aside as .*\.nc\.corrupt"):
        again = sweep(simple, bench.grid(4), store=bench.store, workers=1)
    assert again.computed == 1 and bench.counts("begun") == {0: 1, 1: 2, 2: 1, 3: 1}
    assert path.with_name(path.name + ".corrupt").read_bytes() == damaged
    assert again.load(again.grid.configs[1]).drop_attrs().identical(answer(again.grid.configs[1]).drop_attrs())
    # a second file is not written over the first
    path.write_bytes(b"")
    with pytest.warns(SeparatrixWarning, match=r"\.nc\.1\.corrupt"):
        sweep(simple, bench.grid(4), store=bench.store, workers=1)
    bench.assert_clean()


def test_loading_never_gives_a_corrupt_result(filled):
    bench, made = filled
    config = made.grid.configs[0]
    result(made, 0).write_bytes(result(made, 0).read_bytes()[:-1])
    with pytest.raises(ArgumentError, match=r"differs from its checksum.*set aside"):
        made.load(config)
    with pytest.raises(ArgumentError, match="not in the store"):
        made.load(config)
    assert sweep(simple, bench.grid(4), store=bench.store, workers=1).computed == 1


def test_a_result_whose_writer_died_before_the_record_counts(filled):
    bench, made = filled
    result(made, 2).with_suffix(".json").unlink()
    again = sweep(simple, bench.grid(4), store=bench.store, workers=1)
    assert again.computed == 0 and bench.counts("begun")[2] == 1
    assert json.loads(result(made, 2).with_suffix(".json").read_text())["config"]["n"] == 2


def test_the_index_is_written_from_the_files(filled):
    bench, _ = filled
    text = (bench.store / "index.tsv").read_text()
    rows = [line.split("\t") for line in text.splitlines()]
    assert rows[0][:2] == ["key", "status"] and len(rows) == 5
    assert [row[rows[0].index("n")] for row in rows[1:]] == ["0", "1", "2", "3"]
    assert {row[1] for row in rows[1:]} == {"done"}
    (bench.store / "index.tsv").unlink()
    sweep(simple, bench.grid(4), store=bench.store, workers=1)
    assert (bench.store / "index.tsv").read_text() == text


def test_a_store_is_not_made_among_other_things(tmp_path, bench):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for place, words in (("other", "other things"), ("file", "the file")):
        with pytest.raises(ArgumentError, match=words):
            sweep(simple, bench.grid(1), store=tmp_path / place)
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    with pytest.raises(ArgumentError, match="no run store"):
        Store(tmp_path / "other")


def test_a_store_of_several_tasks_asks_which(filled):
    bench, made = filled
    sweep(sweep_tasks.marked, {"n": [1]}, store=bench.store, workers=1)
    with pytest.raises(ArgumentError, match="sweep_tasks:simple version 1, sweep_tasks:marked version 7"):
        Store(bench.store)
    assert Store(bench.store, task="sweep_tasks:simple").key({"n": 1}) == made.store.key({"n": 1})
    assert Store(bench.store, task=sweep_tasks.marked).version == "7"
    assert len(Store(bench.store, task=simple).grid().configs) == 4


def test_what_netcdf_holds_comes_back_exactly():
    dataset = sweep_tasks.various(Config({"n": 2, "ragged": False}))
    assert from_bytes(to_bytes(dataset)).identical(dataset)


def test_a_file_is_whole_or_as_it_was(tmp_path, as_user):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_whole(path, "text")
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["file"]


def test_a_lock_is_held_once(tmp_path):
    path = tmp_path / "lock"
    lock = Lock.take(path, "note")
    assert path.read_text() == "note" and is_held(path) and Lock.take(path) is None
    lock.release()
    assert not path.exists() and not is_held(path)
    with Lock.take(path):
        assert is_held(path)
    again = Lock.take(path)
    assert again is not None
    again.release()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path):
    path = tmp_path / "lock"
    first = Lock.take(path)
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(Lock.wait_for, path)
        wait_for(lambda: len(locks._held) == 2, "the file to be opened")
        first.release()
        second = waiting.result()
    assert path.exists() and is_held(path) and Lock.take(path) is None
    second.release()
    assert locks._held == set()


def test_locks_exclude_while_their_files_come_and_go(tmp_path):
    inside, worst, rounds = [0], [0], [0]

    def work():
        for _ in range(300):
            with Lock.wait_for(tmp_path / "lock"):
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                rounds[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst[0] == 1 and rounds[0] == 1200


def linger(folder):
    (folder / "started").touch()
    wait_for((folder / "go").exists, "the end")


def test_a_forked_child_does_not_keep_a_lock(tmp_path):
    path = tmp_path / "lock"
    lock = Lock.take(path)
    child = multiprocessing.get_context("fork").Process(target=linger, args=(tmp_path,))
    child.start()
    wait_for((tmp_path / "started").exists, "the child")
    lock._close()  # as the kernel does it for a process that was killed
    held = is_held(path)
    (tmp_path / "go").touch()
    child.join()
    path.unlink()
    assert not held
