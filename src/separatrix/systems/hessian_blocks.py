"""Gradient and Hessian of the squared loss of three-layer networks, written out, for many networks at once.

With z = W1 x + b1, a = f(z), u = W2 a + b2, y = g(u), the loss c = s/2 sum |y - t|^2 over rows and outputs, and

    delta_k = s (y_k - t_k) g'(u_k)    gamma_k = s (g'(u_k)^2 + (y_k - t_k) g''(u_k))    eps_j = sum_k W2_kj delta_k

the gradient is dc/dW2_kj = delta_k a_j, dc/dW1_ji = eps_j f'(z_j) x_i, and the Hessian is J^T gamma J with J = du/dw,
and in addition delta_k f'(z_j) x_i at [W2_kj, W1_ji] and f''(z_j) eps_j x_i x_n at [W1_ji, W1_jn]; all summed over
rows, with 1 as one more x_i and a_j for the biases. The tangent operator of gradient descent on such networks is the
subject of Sharafi, Martin, Hallerberg, Phys. Rev. E 111, 054208 (2025); for the product with a vector see Pearlmutter,
Neural Computation 6, 147 (1994).

Layout: components before rows, (member, component, row).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.systems.activation_bends import value_slope_bend
from separatrix.systems.batches import Batches
from separatrix.systems.loss_derivatives import Product
from separatrix.systems.three_layers import ThreeLayers

_DENSE_PER_WEIGHT = 0.05
"""Tangents per weight and output from which products go through the Hessian itself; measured for 1-4-1 to 1-50-1."""


class Blocks:
    """Loss, gradient and Hessian of stacked three-layer networks at one batch (X, y) that they share.

    Parameters
    ----------
    network : ThreeLayers
    theta : Tensor, shape (members, P)
        Weights.
    X : Tensor, shape (rows, inputs)
    y : Tensor, shape (rows, outputs)

    Notes
    -----
    The forward pass happens here, once. Members do not influence each other, whatever values they have.
    """

    def __init__(
        self,
        network: ThreeLayers,
        theta: Float[Tensor, "members p"],
        X: Float[Tensor, "rows inputs"],
        y: Float[Tensor, "rows outputs"],
    ) -> None:
        self.network = network
        self.members, self.count = theta.shape
        self.rows = len(X)
        self.x = X.mT.contiguous()
        if network.bias1 is not None:
            self.x = torch.cat([self.x, self.x.new_ones(1, self.rows)])
        self.W1, self.W2 = self._first(theta), self._second(theta)
        z = (self.W1.reshape(-1, len(self.x)) @ self.x).view(self.members, network.hidden, self.rows)
        self.a, self.slope, self.bend = value_slope_bend(network.activation, z)
        self.u = torch.bmm(self.W2, self.a)
        if network.bias2 is not None:
            self.u += theta[:, network.bias2, None]
        self.factor = network.factor(self.rows, network.outputs)
        self.gamma: Tensor | None = None
        """None where it is the factor everywhere: the output is linear."""
        if network.readout is None:
            self.error = self.u - y.mT
            self.delta = self.factor * self.error
        else:
            value, slope, bend = value_slope_bend(network.readout, self.u)
            self.error = value - y.mT
            self.delta = self.factor * self.error * slope
            self.gamma = self.factor * (slope.square() + self.error * bend)
        self.eps = torch.bmm(self.W2.mT, self.delta)

    @property
    def losses(self) -> Float[Tensor, " members"]:
        """Loss of each member."""
        return self.error.square().sum((1, 2)) * (self.factor / 2)

    def gradient(self) -> Float[Tensor, "members p"]:
        """Gradient of each member's loss."""
        first = self.eps * self.slope
        return self._vector(
            (first.reshape(-1, self.rows) @ self.x.mT).view(self.members, self.network.hidden, -1),
            torch.bmm(self.delta, self.a.mT),
            self.delta.sum(-1),
        )

    def product(self, V: Float[Tensor, "k members p"]) -> Float[Tensor, "k members p"]:
        """Hessian times k vectors: through the matrix where there are many, by directional derivatives otherwise."""
        if len(V) >= max(2.0, _DENSE_PER_WEIGHT * self.count * self.network.outputs):
            return torch.bmm(V.transpose(0, 1).contiguous(), self.hessian()).transpose(0, 1)
        return torch.stack([self._directional(v) for v in V]) if len(V) else torch.zeros_like(V)

    def hessian(self) -> Float[Tensor, "members p p"]:
        """Dense Hessian of each member's loss."""
        net, (nh, no, N) = self.network, (self.network.hidden, self.network.outputs, self.rows)
        J = self._jacobian()
        weighted = J if self.gamma is None else (J.unflatten(2, (no, N)) * self.gamma[:, None]).flatten(2)
        H = torch.bmm(weighted, J.mT)
        if self.gamma is None:
            H *= self.factor
        width = len(self.x)
        squares = (self.x[:, None] * self.x).view(-1, N)
        bent = ((self.bend * self.eps).reshape(-1, N) @ squares.mT).view(-1, nh, width, width)
        crossed = (self.delta[:, :, None] * self.slope[:, None]).reshape(-1, N) @ self.x.mT
        crossed = crossed.view(-1, no, nh, width)
        # of each hidden node j: its incoming weights i, its bias as one more
        inner = [(net.weight1, net.inputs, slice(0, net.inputs))]
        inner += [] if net.bias1 is None else [(net.bias1, 1, slice(net.inputs, width))]
        for place, many, part in inner:
            for other, others, other_part in inner:
                block = H[:, place, other].unflatten(2, (nh, others)).unflatten(1, (nh, many))
                block.diagonal(0, 1, 3).add_(bent[:, :, part, other_part].permute(0, 2, 3, 1))
            share = crossed[..., part].permute(0, 1, 3, 2)
            block = H[:, net.weight2, place].unflatten(2, (nh, many)).unflatten(1, (no, nh))
            block.diagonal(0, 2, 3).add_(share)
            block = H[:, place, net.weight2].unflatten(2, (no, nh)).unflatten(1, (nh, many))
            block.diagonal(0, 1, 4).add_(share.transpose(1, 2))
        return H

    def _jacobian(self) -> Float[Tensor, "members p columns"]:
        """Derivatives of the outputs before the readout, (member, weight, output x row)."""
        net, (nh, no, N) = self.network, (self.network.hidden, self.network.outputs, self.rows)
        J = self.a.new_zeros(self.members, self.count, no, N)
        passed = self.W2.mT[..., None] * self.slope[:, :, None]
        J[:, net.weight1] = (passed[:, :, None] * self.x[: net.inputs, None]).flatten(1, 2)
        if net.bias1 is not None:
            J[:, net.bias1] = passed
        J[:, net.weight2].unflatten(1, (no, nh)).diagonal(0, 1, 3).copy_(self.a[..., None].expand(-1, -1, -1, no))
        if net.bias2 is not None:
            J[:, net.bias2].diagonal(0, 1, 2).fill_(1.0)
        return J.flatten(2)

    def _directional(self, v: Float[Tensor, "members p"]) -> Float[Tensor, "members p"]:
        """Hessian times one vector: the derivative of every quantity of the gradient along it."""
        V1, V2 = self._first(v), self._second(v)
        dz = (V1.reshape(-1, len(self.x)) @ self.x).view_as(self.a)
        da = self.slope * dz
        du = torch.bmm(self.W2, da) + torch.bmm(V2, self.a)
        if self.network.bias2 is not None:
            du += v[:, self.network.bias2, None]
        ddelta = du * (self.factor if self.gamma is None else self.gamma)
        deps = torch.bmm(V2.mT, self.delta) + torch.bmm(self.W2.mT, ddelta)
        dfirst = deps * self.slope + self.eps * self.bend * dz
        return self._vector(
            (dfirst.reshape(-1, self.rows) @ self.x.mT).view_as(V1),
            torch.bmm(ddelta, self.a.mT) + torch.bmm(self.delta, da.mT),
            ddelta.sum(-1),
        )

    def _first(self, vector: Tensor) -> Tensor:
        """Weights into the hidden layer, (member, hidden, input), with the bias as one more input."""
        net = self.network
        W = vector[:, net.weight1].unflatten(1, (net.hidden, net.inputs))
        return W if net.bias1 is None else torch.cat([W, vector[:, net.bias1, None]], 2)

    def _second(self, vector: Tensor) -> Tensor:
        """Weights out of the hidden layer, (member, output, hidden)."""
        net = self.network
        return vector[:, net.weight2].unflatten(1, (net.outputs, net.hidden)).contiguous()

    def _vector(self, first: Tensor, second: Tensor, bias2: Tensor) -> Tensor:
        """Put parts of a gradient together in the order of the weights."""
        net = self.network
        vector = first.new_empty(self.members, self.count)
        vector[:, net.weight1] = first[..., : net.inputs].flatten(1)
        if net.bias1 is not None:
            vector[:, net.bias1] = first[..., -1]
        vector[:, net.weight2] = second.flatten(1)
        if net.bias2 is not None:
            vector[:, net.bias2] = bias2
        return vector


class BlockDerivatives:
    """Derivatives of the loss by the blocks; see :class:`separatrix.systems.loss_derivatives.Derivatives`."""

    method = "blocks"

    def __init__(self, network: ThreeLayers, batches: Batches) -> None:
        self.network, self.batches = network, batches

    def at(self, theta: Tensor, t: int) -> Blocks:
        """Everything at the batch of step t."""
        return Blocks(self.network, theta, *self.batches.at(t))

    def losses(self, theta: Float[Tensor, "members p"], t: int) -> Float[Tensor, " members"]:
        """Loss of each member."""
        return self.at(theta, t).losses

    def gradient(self, theta: Float[Tensor, "members p"], t: int) -> Float[Tensor, "members p"]:
        """Gradient of each member's loss."""
        return self.at(theta, t).gradient()

    def linearise(self, theta: Float[Tensor, "members p"], t: int, budget: int) -> tuple[Tensor, Product]:
        """Gradient, and the Hessian as a product."""
        blocks = self.at(theta, t)
        return blocks.gradient(), blocks.product

    def hessian(self, theta: Float[Tensor, "members p"], t: int, budget: int) -> Float[Tensor, "members p p"]:
        """Dense Hessian of each member's loss."""
        return self.at(theta, t).hessian()

    def bytes_per_member(self, tangents: int) -> int:
        """Working memory of one member with so many tangents; the Hessian counts where there is more than one."""
        net, rows = self.network, self.batches.largest
        P = net.hidden * (net.inputs + net.outputs) + net.hidden + net.outputs
        dense = P * (2 * net.outputs * rows + 2 * P) if tangents > 1 else 0
        return 8 * (rows * (9 * net.hidden + 6 * net.outputs) + dense + 3 * P * (1 + tangents))
