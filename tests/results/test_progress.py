"""Progress that is counted by cost."""

from separatrix.results.progress import weighed


def test_progress_counts_what_runs_cost(capsys):
    with weighed(True, [3.0, 1.0], "cells") as advance:
        advance(1, 2)
        advance(2, 2)
    shown = capsys.readouterr().err
    assert "75%" in shown and "100%" in shown and "1 of 2 cells" in shown
    with weighed(False, [1.0], "cells") as silent:
        assert silent is False
