"""The command: lists, runs, prints, and tells failures by its exit code."""

import os
import subprocess
import sys
from pathlib import Path

from separatrix.studies import Ledger

STUB = """
import sys, types
from separatrix.studies import Claim, Finding, Kind, Measurement, Part, Piece, Study, near, run

module = types.ModuleType("separatrix.studies.trial")
parts = types.ModuleType("parts_of_trial")

def work(context):
    if context.seed:
        raise RuntimeError("a bad day")
    return Part([Finding("A", [Measurement("level", 1.2, target=1.0, accept=near(1, 0.5))])])

parts.run = work
claim = Claim("A", "The level is one.", "Fig. 1", Kind.PAPER, "1", "within 0.5", ("one",))
module.STUDY = Study("trial", "A trial", "Nobody", (claim,), (Piece("one", "One", "parts_of_trial"),))
sys.modules |= {"separatrix.studies.trial": module, "parts_of_trial": parts}
run.NAMES = ("trial",)
from separatrix.cli import main
main()
"""
MAIN = "from separatrix.cli import main; main()"


def call(*arguments, cwd, code=MAIN, check=0):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == check, done.stderr
    return done


def test_without_a_name_studies_are_listed_one_a_line(tmp_path):
    lines = call("study", cwd=tmp_path).stdout.splitlines()
    assert len(lines) == len([line for line in lines if line]) and lines[0].startswith(
        "storm2024  Finite-time Lyapunov"
    )
    assert list(tmp_path.iterdir()) == []


def test_listing_and_help_load_nothing_heavy(tmp_path):
    program = Path(sys.executable).with_name("separatrix")
    for arguments in (["study", "--help"], ["study"]):
        listing = subprocess.run(
            [sys.executable, "-X", "importtime", program, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        loaded = {line.split("|")[-1].strip().split(".")[0] for line in listing.stderr.splitlines()}
        assert "typer" in loaded and not loaded & {"torch", "numpy", "matplotlib", "xarray", "scipy", "jinja2"}


def test_a_study_prints_claims_beside_measurements(tmp_path):
    done = call("study", "trial", "--out", "here", "--quiet", cwd=tmp_path, code=STUB)
    assert "A    reproduced: The level is one." in done.stdout and "level: paper 1, here 1.20 ✓" in done.stdout
    assert "1 reproduced, 0 partly" in done.stdout and "wrote here/trial.html" in done.stdout and done.stderr == ""
    assert Ledger.load(tmp_path / "here" / "trial-ledger.json")["A"].verdict == "reproduced"


def test_a_part_that_fails_gives_exit_code_one_and_a_page(tmp_path):
    done = call("study", "trial", "--seed", 1, "--quiet", cwd=tmp_path, code=STUB, check=1)
    assert "these parts failed, the page says why: one" in done.stderr and "Traceback" not in done.stderr
    assert "a bad day" in (tmp_path / "studies" / "trial-quick" / "trial.html").read_text("utf-8")


def test_unusable_arguments_end_in_one_message(tmp_path):
    for arguments, words in (
        (["nothing"], "choose from storm2024"),
        (["storm2024", "--scale", "large"], "choose from quick, paper"),
        (["storm2024", "--part", "none"], "choose from fields"),
    ):
        done = call("study", *arguments, cwd=tmp_path, check=64)
        assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
