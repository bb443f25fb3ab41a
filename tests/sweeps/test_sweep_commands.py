"""separatrix sweep status, resume, collect."""

import sys

import pytest
import xarray as xr
from sweep_tasks import failing

from separatrix.cli import main
from separatrix.results.errors import SeparatrixWarning
from separatrix.sweeps import sweep


@pytest.fixture
def say(bench, monkeypatch, capsys, as_user):
    def call(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["separatrix", "sweep", words[0], str(bench.store), *map(str, words[1:])])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == code
        return "".join(capsys.readouterr())

    return call


def test_a_store_is_looked_after_from_the_shell(bench, say):
    with pytest.warns(SeparatrixWarning):
        sweep(failing, bench.grid(4), store=bench.store, workers=1)
    (bench.store / "index.tsv").unlink()
    said = say("status")
    assert "sweep_tasks:failing version 1" in said and "4 runs: 2 done, 2 failed, 0 running, 0 missing" in said
    assert "n=1" in said and "RuntimeError: run 1 has gone wrong" in said
    assert len((bench.store / "index.tsv").read_text().splitlines()) == 5
    said = say("resume", "--workers", "1", code=1)
    assert "2 done (0 computed now), 2 failed" in said and "4.00/4.00" in said
    assert "2 of 4 runs without a result" in say("collect", code=64)
    (bench.log / "repaired").touch()
    said = say("resume", "--workers", "1", "-q")
    assert "4 done (2 computed now), 0 failed" in said and "4.00/4.00" not in said
    assert "n 4" in say("collect", "--out", bench.folder / "all.nc")
    with xr.open_dataset(bench.folder / "all.nc") as found:
        assert found.y.dims == ("n", "log", "x") and found.y.isel(n=3, log=0).values.tolist() == [0, 3, 6]
    next((bench.store / "runs").glob("*.nc")).write_bytes(b"")
    assert "3 done, 0 failed, 0 running, 1 missing, 1 of them corrupt" in say("status")


def test_no_store(say):
    assert "no run store" in say("status", code=64)
