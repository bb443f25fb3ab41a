"""Every known activation, as torch has it and with 40 digits."""

import mpmath
import torch
from torch import nn

from separatrix.systems.curves import curve

mpmath.mp.dps = 40
mpf = mpmath.mpf


def phi(z):
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def clip(z, lo, hi):
    return max(mpf(lo), min(mpf(hi), z))


SCALE, ALPHA = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")
EXACT = {
    "relu": (nn.ReLU(), lambda z: max(z, mpf(0))),
    "leaky_relu": (nn.LeakyReLU(0.25), lambda z: z if z > 0 else z / 4),
    "leaky_relu negative": (nn.LeakyReLU(-1.5), lambda z: z if z > 0 else -1.5 * z),
    "prelu": (nn.PReLU(init=0.75), lambda z: z if z > 0 else z * 3 / 4),
    "rrelu": (nn.RReLU(0.125, 0.375).eval(), lambda z: z if z > 0 else z / 4),
    "relu6": (nn.ReLU6(), lambda z: clip(z, 0, 6)),
    "hardtanh": (nn.Hardtanh(), lambda z: clip(z, -1, 1)),
    "hardtanh off centre": (nn.Hardtanh(0.5, 2.0), lambda z: clip(z, 0.5, 2)),
    "hardsigmoid": (nn.Hardsigmoid(), lambda z: clip(z / 6 + mpf(1) / 2, 0, 1)),
    "hardswish": (nn.Hardswish(), lambda z: z * clip(z + 3, 0, 6) / 6),
    "tanh": (nn.Tanh(), mpmath.tanh),
    "softsign": (nn.Softsign(), lambda z: z / (1 + abs(z))),
    "elu": (nn.ELU(), lambda z: z if z > 0 else mpmath.expm1(z)),
    "elu steep": (nn.ELU(2.5), lambda z: z if z > 0 else 2.5 * mpmath.expm1(z)),
    "elu negative": (nn.ELU(-0.5), lambda z: z if z > 0 else -0.5 * mpmath.expm1(z)),
    "celu": (nn.CELU(0.5), lambda z: z if z > 0 else mpmath.expm1(z * 2) / 2),
    "selu": (nn.SELU(), lambda z: SCALE * (z if z > 0 else ALPHA * mpmath.expm1(z))),
    "gelu": (nn.GELU(), lambda z: z * phi(z)),
    "gelu tanh": (
        nn.GELU("tanh"),
        lambda z: z * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + mpf("0.044715") * z**3))) / 2,
    ),
    "silu": (nn.SiLU(), lambda z: z / (1 + mpmath.exp(-z))),
    "mish": (nn.Mish(), lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z)))),
    "tanhshrink": (nn.Tanhshrink(), lambda z: z - mpmath.tanh(z)),
    "softshrink": (nn.Softshrink(0.5), lambda z: max(z - mpf(0.5), mpf(0)) + min(z + mpf(0.5), mpf(0))),
    "sigmoid": (nn.Sigmoid(), lambda z: 1 / (1 + mpmath.exp(-z))),
    "softplus": (nn.Softplus(threshold=300.0), lambda z: mpmath.log1p(mpmath.exp(z))),
    "softplus steep": (nn.Softplus(3.0, 300.0), lambda z: mpmath.log1p(mpmath.exp(3 * z)) / 3),
    "logsigmoid": (nn.LogSigmoid(), lambda z: -mpmath.log1p(mpmath.exp(-z))),
    "sin": (torch.sin, mpmath.sin),
    "abs": (torch.abs, abs),
    "identity": (nn.Identity(), lambda z: z),
}
SIGNED = {"gelu", "gelu tanh", "silu", "mish", "hardswish", "sin", "elu negative", "abs", "leaky_relu negative"}
"""Slopes of both signs: sums of them cancel, and what is promised is an absolute error."""


def cases(name):
    """The curve, torch's module or function, and the function of high precision."""
    module, exact = EXACT[name]
    return curve(module), module, exact
