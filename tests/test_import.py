"""Importing is cheap, and the wheel is complete."""

import resource
import subprocess
import sys
import zipfile

HELP = """
import sys
sys.argv = ["separatrix", "--help"]
from separatrix.cli import main
try:
    main()
except SystemExit:
    pass
assert "torch" not in sys.modules
"""


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_does_not_load_what_is_not_used():
    code = "import sys, separatrix; print(*sys.modules)"
    heavy = {"torch", "numpy", "xarray", "sklearn", "matplotlib", "typer"}
    assert not heavy & set(fresh(code).split())


def test_import_stays_under_its_limit():
    def used():
        found = resource.getrusage(resource.RUSAGE_CHILDREN)
        return found.ru_utime + found.ru_stime

    def seconds(code):
        begin = used()
        fresh(code)
        return used() - begin

    # the best of a few, without the interpreter's own start
    own = min(seconds("pass") for _ in range(5))
    assert min(seconds("import separatrix") for _ in range(5)) - own < 0.3
    assert min(seconds(HELP) for _ in range(5)) - own < 0.3


def test_every_public_name_resolves():
    import separatrix as sx

    for name in sx.__all__:
        assert getattr(sx, name) is not None


def test_the_wheel_ships_stubs_types_and_templates(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "__init__.pyi",
        "py.typed",
        "data/__init__.pyi",
        "figures/__init__.pyi",
        "geometry/__init__.pyi",
        "report/templates/page.html",
        "studies/templates/study.html",
        "studies/templates/ledger.html",
        "figures/templates/parts.html",
        "figures/templates/page.css",
    ):
        assert f"separatrix/{needed}" in names
