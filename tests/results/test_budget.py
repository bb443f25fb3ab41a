"""Byte budgets and progress."""

import pytest

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.results.progress import track


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("2GiB", 2 << 30), ("1.5 kB", 1500), (1000, 1000), ("7", 7), ("1e3B", 1000)],
)
def test_budgets_are_read(text, size):
    assert parse_bytes(text) == size


def test_chunks_fit():
    assert points_per_chunk(100, 1000, "x") == 10
    with pytest.raises(ArgumentError, match=r'one point needs about 2,500,000 bytes \(x\); give at least memory="3MB"'):
        points_per_chunk(2_500_000, 1000, "x")


def test_progress_is_silent_a_bar_or_a_function(capsys):
    with track(False, 10, "work") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")
    seen = []
    with track(lambda done, total: seen.append((done, total)), 10, "work") as advance:
        advance(4)
        advance(6)
    assert seen == [(4, 10), (10, 10)]
    with track(True, 10, "work") as advance:
        advance(10)
    assert "work" in capsys.readouterr().err
