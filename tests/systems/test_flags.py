"""Settings of the whole process are as before, whoever else changes them meanwhile."""

import pytest
import torch

from separatrix.systems.flags import EXACT, PLAIN, WRITTEN_OUT


def settings():
    backends = torch.backends
    return {
        "mkldnn": backends.mkldnn.enabled,
        "cudnn": backends.cudnn.enabled,
        "tf32": backends.cudnn.allow_tf32,
        "fast": backends.mha.get_fastpath_enabled(),
        "flash": backends.cuda.flash_sdp_enabled(),
        "math": backends.cuda.math_sdp_enabled(),
        "efficient": backends.cuda.mem_efficient_sdp_enabled(),
        "products": torch.get_float32_matmul_precision(),
    }


@pytest.fixture
def relaxed():
    """Settings of a caller who prefers speed, every one of them different from what is made of it."""
    torch.set_float32_matmul_precision("high")
    before = settings()
    yield before
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("context", "changed"),
    [(PLAIN, ("mkldnn", "flash", "fast")), (EXACT, ("products", "fast")), (WRITTEN_OUT, ("flash", "efficient"))],
    ids=["plain", "exact", "written out"],
)
def test_the_last_one_out_restores_what_the_first_one_found(relaxed, context, changed):
    # as two threads do, the second of which comes before the first one goes
    context.__enter__()
    inside = settings()
    assert all(inside[name] != relaxed[name] for name in changed)
    context.__enter__()
    context.__exit__()
    assert settings() == inside
    context.__exit__()
    assert settings() == relaxed


@pytest.mark.parametrize(("context", "shared"), [(EXACT, "fast"), (WRITTEN_OUT, "flash")], ids=["exact", "written out"])
def test_both_may_overlap(relaxed, context, shared):
    context.__enter__()
    PLAIN.__enter__()
    context.__exit__()
    assert settings()[shared] is False
    PLAIN.__exit__()
    assert settings() == relaxed


@pytest.mark.parametrize("context", [PLAIN, EXACT, WRITTEN_OUT], ids=["plain", "exact", "written out"])
def test_an_exception_restores_them_too(relaxed, context):
    with pytest.raises(KeyError), PLAIN, context:
        raise KeyError
    assert settings() == relaxed
