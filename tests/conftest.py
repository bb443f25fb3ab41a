"""Shapes are checked while the tests run; a test may be skipped for missing data or hardware only."""

import os
import shutil

import jaxtyping
import pytest

# ints pass for floats, as they do for users
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook("separatrix", CHECKER).__enter__()

ALLOWED_SKIPS = ("data:", "gpu:")


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
]


@pytest.fixture(scope="session")
def browser():
    """Command of a real browser, to which a profile, a size and a page are added."""
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not found:
        pytest.skip(f"data: no browser ({', '.join(BROWSERS)})")
    return [found[0], *SWITCHES]


def pytest_configure(config):
    import torch

    torch.set_num_threads(int(os.environ.get("SEPARATRIX_TEST_THREADS", "2")))


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="gpu: no CUDA device on this machine"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    bad = []
    for report in reporter.stats.get("skipped", []) if reporter else []:
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if not reason.startswith(ALLOWED_SKIPS):
            bad.append(f"{report.nodeid}: {reason}")
    if bad and exitstatus == 0:
        reporter.write_line("\nskipped for a reason that is not allowed (only missing data or hardware is):", red=True)
        for line in bad:
            reporter.write_line(f"  {line}", red=True)
        session.exitstatus = 1


@pytest.fixture
def as_user():
    """Leave types unchecked, as they are outside the tests: what a careless user gets is then our own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
