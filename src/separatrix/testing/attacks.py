"""Random small maps, and long float64 searches for anything that a verdict about them forbids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from separatrix.certificates.certificate import Certificate, Verdict
from separatrix.certificates.certify import certify
from separatrix.certificates.gains.layer_norms import euclidean
from separatrix.certificates.gains.norms import distance
from separatrix.certificates.gains.sectors import slope_sectors
from separatrix.systems.lure import lure
from separatrix.systems.maps import Map

STATEMENTS = ("contraction", "stability", "boundedness")

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "prelu": nn.PReLU,
    "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "elu": nn.ELU,
    "celu": lambda: nn.CELU(1.5),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "tanhshrink": nn.Tanhshrink,
    "softshrink": nn.Softshrink,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "logsigmoid": nn.LogSigmoid,
}


class Residual(nn.Module):
    """A x + net(x)."""

    A: Tensor

    def __init__(self, A: Tensor, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("A", A)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next states."""
        return x @ self.A.T + self.net(x)


@dataclass(frozen=True)
class Made:
    """A random map x+ = f(x) of n components, as a module in float64."""

    f: nn.Module
    n: int
    activation: str
    form: str


def random_map(seed: int) -> Made:
    """One to four components, one to three layers of one to eight units, any activation, with or without bias.

    A third of the maps end with the activation, a third are A x + net(x); gains are spread around the edge between
    what contracts and what does not.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(high, (1,), generator=generator))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    name = [*ACTIVATIONS][draw(len(ACTIVATIONS))]
    n, hidden, bias = 1 + draw(4), 1 + draw(3), draw(2)
    widths = [n, *(1 + draw(8) for _ in range(hidden)), n]
    gain = float(0.3 + 1.2 * torch.rand(1, generator=generator, dtype=torch.float64))
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        layer = nn.Linear(a, b).double().requires_grad_(False)
        layer.weight.copy_(gain * normal(b, a) / a**0.5)
        layer.bias.copy_(bias * normal(b))
        parts += [layer, ACTIVATIONS[name]().double()]
    form = ("plain", "activated", "residual")[draw(3)]
    if form == "activated":
        return Made(nn.Sequential(*parts), n, name, form)
    net = nn.Sequential(*parts[:-1])
    if form == "plain":
        return Made(net, n, name, form)
    return Made(Residual(0.7 * normal(n, n) / n**0.5, net), n, name, form)


def product_of_norms(made: Made) -> float:
    """Lipschitz constant by 2-norms of layers and largest slopes."""
    network = lure(made.f, made.n)
    return euclidean(network, slope_sectors(network), made.n)


def attacked(made: Made, statement: str, *, seed: int, seconds: float) -> tuple[str, str]:
    """The verdict on a statement, and what contradicts it; empty if nothing was found."""
    with torch.no_grad():
        found = certify(Map(made.f, dim=made.n), statement, budget=seconds)
        if found.verdict is Verdict.CERTIFIED:
            attack = {"contraction": _pairs, "stability": _limits, "boundedness": _escapes}[statement]
            wrong = attack(made, found, torch.Generator().manual_seed(seed))
        elif found.verdict is Verdict.REFUTED:
            wrong = _one_limit(made, found, torch.Generator().manual_seed(seed))
        else:
            return found.verdict.value, ""
        if not wrong and not found.check(Map(made.f, dim=made.n)):
            wrong = "the certificate does not check"
    return found.verdict.value, wrong


_LONGEST = 3000
"""Steps of an orbit at most."""


def _starts(made: Made, count: int, generator: torch.Generator) -> Tensor:
    size = 10 ** (7 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 2)
    return size * torch.randn(count, made.n, generator=generator, dtype=torch.float64)


def _pairs(made: Made, found: Certificate, generator: torch.Generator) -> str:
    """Pairs along orbits, and an ascent of the ratio from the worst of them."""
    assert found.proof is not None
    assert found.rate is not None
    x = _starts(made, 256, generator)
    apart = 10 ** (8 * torch.rand(256, 1, generator=generator, dtype=torch.float64) - 5)
    y = x + apart * torch.randn(256, made.n, generator=generator, dtype=torch.float64)
    worst = 0.0
    for step in range(200):
        ratio = _ratio(made, found, x, y)
        worst = max(worst, float(ratio.max()))
        if step < 40:
            x, y = made.f(x), made.f(y)
            near = (x - y).abs().amax(1) < 1e-6 * (1 + x.abs().amax(1))
            x[near] = _starts(made, int(near.sum()), generator)
            continue
        # the better half is kept, and moved a little
        keep = ratio.argsort(descending=True)[:128].repeat(2)
        x, y = x[keep], y[keep]
        size = (x - y).norm(dim=1, keepdim=True)
        move = size * 10 ** (-3 * torch.rand(256, 1, generator=generator, dtype=torch.float64))
        move[:128] = 0
        x = x + move * torch.randn(256, made.n, generator=generator, dtype=torch.float64)
        y = y + move * torch.randn(256, made.n, generator=generator, dtype=torch.float64)
    if worst > found.rate * (1 + 1e-7):
        return f"a pair is stretched by {worst}, certified {found.rate}"
    return _limits(made, found, generator)


def _ratio(made: Made, found: Certificate, x: Tensor, y: Tensor) -> Tensor:
    assert found.proof is not None
    between = distance(found.proof, x - y)
    # pairs so close that rounding decides do not count
    scale = 1 + x.abs().amax(1) + made.f(x).abs().amax(1)
    good = (x - y).abs().amax(1) * min(found.rate or 1.0, 1.0) > 1e-7 * scale
    return torch.where(good, distance(found.proof, made.f(x) - made.f(y)) / between.clamp(min=1e-300), 0.0)


def _limits(made: Made, found: Certificate, generator: torch.Generator) -> str:
    """Orbits that do not come to the equilibrium, at the certified rate where there is one."""
    assert found.proof is not None
    centre = found.equilibrium
    assert centre is not None
    x = first = _starts(made, 256, generator)
    far: list[Tensor] = []
    for step in range(1, _LONGEST + 1):
        x = made.f(x)
        off = (x - centre).abs().amax(1) / (1 + centre.abs().max())
        if step in (_LONGEST // 2, _LONGEST) or bool((off <= 1e-9).all()):
            far.append(off)
            if bool((off <= 1e-9).all()):
                break
    if found.rate is not None:
        allowed = found.rate**step * distance(found.proof, first - centre) * (1 + 1e-6)
        if not bool((distance(found.proof, x - centre) <= allowed + 1e-6 * (1 + centre.abs().max())).all()):
            return "orbits come to the equilibrium more slowly than certified"
    elif not bool(((far[-1] <= 1e-6) | (far[-1] < 0.9 * far[0])).all()):
        return f"an orbit ends {float(far[-1].max())} from the equilibrium"
    return ""


def _escapes(made: Made, found: Certificate, generator: torch.Generator) -> str:
    """Orbits that do not enter the ball, and points of the ball that leave it."""
    assert found.proof is not None
    assert found.bound is not None
    x = first = _starts(made, 256, generator)
    step = 0
    while step < _LONGEST:
        step += 1
        x = made.f(x)
        entered = distance(found.proof, x) <= found.bound * (1 + 1e-9)
        if bool(entered.all()):
            break
    # |x_k| <= r^k |x_0| + (1 - r^k) R
    rate = (found.rate or 0.0) ** step
    allowed = rate * distance(found.proof, first) + found.bound
    if not bool((distance(found.proof, x) <= allowed * (1 + 1e-9)).all()):
        return "an orbit does not enter the ball"
    way = torch.randn(2000, made.n, generator=generator, dtype=torch.float64)
    share = torch.rand(2000, 1, generator=generator, dtype=torch.float64) ** (1 / made.n)
    share[:1000] = 1
    inside = share * way / distance(found.proof, way)[:, None] * found.bound
    image = distance(found.proof, made.f(inside))
    if not bool((image <= found.bound * (1 + 1e-9)).all()):
        return f"a point of the ball is carried out, to {float(image.max())} of {found.bound}"
    return ""


def _one_limit(made: Made, found: Certificate, generator: torch.Generator) -> str:
    """A refuted statement that a cheap proof of another kind confirms: both cannot be."""
    if found.kind in STATEMENTS and product_of_norms(made) < 1:
        return f"{found.kind} is refuted, and the product of norms is below one"
    if found.kind == "boundedness":
        x = _starts(made, 64, generator)
        for _ in range(3000):
            x = made.f(x)
        if bool((x.abs().amax(1) < 1e-9).all()):
            return "boundedness is refuted, and all orbits come to the origin"
    return ""
