"""Sweeps in processes of their own, which the tests kill and interrupt."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sweep_tasks import wait_for

CODE = """
import json, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import sweep_tasks
from separatrix.sweeps import sweep
asked = json.loads(sys.argv[1])
if asked["file_limit"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_limit"], resource.RLIM_INFINITY))
made = sweep(getattr(sweep_tasks, asked["task"]), asked["grid"], store=asked["store"], workers=asked["workers"])
print(json.dumps({"done": len(made.done), "failed": len(made.failed), "computed": made.computed}))
"""


class Driven:
    """A sweep in another process, with its output in files: a pipe would stay open in workers that outlive it."""

    def __init__(self, place, command):
        self.out, self.err = place.with_suffix(".out"), place.with_suffix(".err")
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, env=environment, cwd=place.parent, start_new_session=True
            )

    def end(self, code=0):
        self.process.wait(200)
        assert self.process.returncode == code, self.err.read_text()
        return json.loads(self.out.read_text()) if code == 0 and self.out.read_text().startswith("{") else None

    @property
    def said(self):
        return self.out.read_text() + self.err.read_text()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def kill_all(self):
        """As if the machine lost its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Bench:
    """A log, a store, and ways to start sweeps on it."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        self.log.mkdir()
        self.store = folder / "store"
        self.driven = []

    def grid(self, count):
        return {"n": list(range(count)), "log": [str(self.log)]}

    def start(self, task, grid, workers=2, file_limit=0):
        asked = {"task": task, "grid": grid, "store": str(self.store), "workers": workers, "file_limit": file_limit}
        self.driven.append(
            Driven(self.folder / f"driven-{len(self.driven)}", [sys.executable, "-c", CODE, json.dumps(asked)])
        )
        return self.driven[-1]

    def logged(self, word):
        """Pairs of run and process."""
        path = self.log / word
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(n), int(process)) for n, process in map(str.split, lines)]

    def counts(self, word):
        """How often each run did this."""
        return Counter(n for n, _ in self.logged(word))

    def wait_until(self, word, *runs):
        """Wait until these runs have done this; return their processes."""
        wait_for(lambda: set(runs) <= {n for n, _ in self.logged(word)}, f"runs {runs} to have {word}")
        return {n: process for n, process in self.logged(word) if n in runs}

    def open_gate(self):
        (self.log / "open").touch()

    def wait_gone(self, processes):
        wait_for(lambda: not any(map(alive, processes)), f"the end of {processes}")

    def assert_clean(self):
        left = [p.name for p in self.store.rglob("*") if p.suffix == ".tmp" or p.parent.name == "locks"]
        assert left == []


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    for driven in made.driven:
        if driven.process.poll() is None:
            driven.kill_all()
