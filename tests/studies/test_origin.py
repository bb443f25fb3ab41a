"""The state of the code, told from real repositories."""

import subprocess
from pathlib import Path

import pytest

from separatrix.results.provenance import package_version
from separatrix.studies.origin import code_state, machine

VERSION = f"separatrix {package_version()}"


def git(folder, *arguments):
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *name, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_checkout_is_its_commit(package):
    commit = git(package, "rev-parse", "--short", "HEAD")
    assert code_state(package) == commit
    (package.parents[1] / "notes.txt").write_text("not code")
    assert code_state(package) == commit, "only the package counts"
    git(package, "tag", "v1")
    assert code_state(package) == "v1"


@pytest.mark.parametrize("name", ["__init__.py", "new.py"])
def test_changed_and_new_files_are_told(package, name):
    (package / name).write_text("a = 2\n")
    assert code_state(package).endswith(", with uncommitted changes")


def test_a_package_inside_somebody_elses_repository_is_its_version(package):
    inside = package.parent / "site-packages" / "separatrix"
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("")
    assert code_state(inside) == VERSION


def test_without_git_it_is_the_version(tmp_path, monkeypatch):
    assert code_state(tmp_path) == VERSION
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_state(Path(__file__).parent) == VERSION


def test_the_machine_is_text():
    found = machine()
    assert {"separatrix", "torch", "numpy", "scipy", "python", "threads", "cores"} <= set(found)
    assert all(isinstance(value, str) for value in found.values()) and int(found["cores"]) >= 1
