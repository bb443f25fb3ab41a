"""A certificate: what was asked of a map, what is proved of it, and everything that a check needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from separatrix.certificates.problem import Failure, Proof
from separatrix.results.errors import ArgumentError
from separatrix.tangent.inputs import Plane


class Verdict(StrEnum):
    """What is known of a statement; true in ``if`` only where it is certified."""

    CERTIFIED = "certified"
    REFUTED = "refuted"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is Verdict.CERTIFIED


@dataclass(frozen=True, eq=False)
class Region:
    """A set of states: an ellipsoid (x - centre)'P(x - centre) <= level, or boxes, or both together.

    Attributes
    ----------
    P : Tensor (n, n)
    centre : Tensor (n,)
    level : float
    lo, hi : Tensor (K, n)
        Corners of boxes that belong to the region as well; K is 0 where there are none.
    """

    P: Tensor
    centre: Tensor
    level: float
    lo: Tensor
    hi: Tensor

    def contains(self, x: Any) -> Bool[Tensor, " *batch"]:
        """Which states (*batch, n), or points of ``sx.grid``, lie in it, in floating point."""
        x = _states(x, len(self.centre))
        off = x - self.centre
        inside = (off @ self.P * off).sum(-1) <= self.level
        for part in range(0, len(self.lo), 4096):
            lo, hi = self.lo[part : part + 4096], self.hi[part : part + 4096]
            inside = inside | ((x[..., None, :] >= lo) & (x[..., None, :] <= hi)).all(-1).any(-1)
        return inside

    @property
    def volume(self) -> float:
        """Volume of the ellipsoid, or of the boxes where there are any (which hold the ellipsoid but for its rim).

        An area for two components, a length for one.
        """
        if len(self.lo):
            return float((self.hi - self.lo).prod(-1).sum())
        n = len(self.centre)
        ball = torch.exp(0.5 * n * torch.tensor(torch.pi).double().log() - torch.lgamma(torch.tensor(n / 2 + 1.0)))
        return float(ball * self.level ** (n / 2) / torch.linalg.det(self.P).sqrt())


@dataclass(frozen=True)
class Checked:
    """Whether a certificate was verified anew, and if not, why; true in ``if``."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, eq=False)
class Certificate:
    """An answer about x+ = f(x).

    Attributes
    ----------
    verdict : Verdict
        "certified" if the statement is proved, "refuted" if it is proved to be wrong, else "unknown".
    kind : str
        "contraction", "stability", "boundedness" or "lipschitz".
    statement : str
        In words, with what was proved.
    assumptions : tuple of str
        What the proof takes for granted.
    method : str
        How it was shown.
    rate : float or None
        Factor per step, below 1.
    norm : str
        The norm that rate and bound are about.
    bound : float or None
        Lipschitz constant; or radius of the ball that is entered.
    domain : str
        Where it holds.
    equilibrium : Tensor (n,) or None
        In floating point.
    region : Region or None
        Certified region of attraction, or the ball that is entered.
    margin : float
        By how much what must hold does: 1 - rate for rates; for a witness, that of its own condition; 0 where there is
        none.
    witness : dict or None
        What refutes the statement.
    advice : str
        What to do where nothing is proved.
    evidence : tuple of str
        What was tried, and what was seen and proves nothing.
    seconds : float
    question : dict
        What was asked.
    proof : Proof or None
        What :meth:`check` starts from.
    provenance : str
        As JSON text.
    """

    verdict: Verdict
    kind: str
    statement: str
    assumptions: tuple[str, ...] = ()
    method: str = ""
    rate: float | None = None
    norm: str = ""
    bound: float | None = None
    domain: str = "all states"
    equilibrium: Tensor | None = None
    region: Region | None = None
    margin: float = 0.0
    witness: dict[str, Any] | None = None
    advice: str = ""
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0
    question: dict[str, Any] = field(default_factory=dict)
    proof: Proof | None = None
    provenance: str = "{}"

    def __bool__(self) -> bool:
        """Whether the statement is certified."""
        return bool(self.verdict)

    def __str__(self) -> str:
        parts = [f"{self.verdict.value}: {self.statement}"]
        if self.method:
            margin = f", margin {self.margin:.3g}" if self.margin > 0 else ""
            parts.append(f"by {self.method}{margin}, {self.seconds:.2g} s")
        if self.region is not None:
            parts.append(f"region: volume {self.region.volume:.4g}")
        if self.verdict is Verdict.UNKNOWN:
            parts += [f"tried: {line}" for line in self.evidence]
        if self.advice:
            parts.append(f"advice: {self.advice}")
        return "\n".join(parts)

    def __repr__(self) -> str:
        return (
            f"Certificate({self.kind}: {self.verdict.value}, rate={self.rate}, norm={self.norm!r}, bound={self.bound})"
        )

    @property
    def P(self) -> Tensor | None:
        """The metric (n, n) of |x|^2 = x'Px, where the certificate has one."""
        return None if self.proof is None else self.proof.data.get("P")

    @property
    def weights(self) -> Tensor | None:
        """The weights w (n,) of a weighted norm, max |x_i|/w_i or sum w_i |x_i|, where the certificate has one."""
        return None if self.proof is None else self.proof.data.get("weights")

    def lyapunov(self, x: Any) -> Float[Tensor, " *batch"]:
        """V (*batch) at states (*batch, n): the square of the certificate's norm of the distance to the equilibrium.

        Raises
        ------
        ArgumentError
            If the certificate has no norm or no centre, or the states have another number of components.
        """
        from separatrix.certificates.gains.norms import distance

        if self.verdict is not Verdict.CERTIFIED or self.proof is None or self.kind == "lipschitz":
            raise ArgumentError("certificate", f"a verdict of {self.verdict.value}", "nothing that falls is known")
        centre = self.equilibrium
        if self.kind == "boundedness" or centre is None:
            centre = None if self.region is None else self.region.centre
        if centre is None:
            raise ArgumentError("certificate", "one without a centre", "ask for stability")
        return distance(self.proof, _states(x, len(centre)) - centre) ** 2

    def check(self, system: Any) -> Checked:
        """Verify the certificate anew for a system, from what it holds and without a search.

        A certificate is about one map: any change of the weights that matters makes this fail.
        """
        from separatrix.certificates.checking import checked

        return checked(self, system)

    def save(self, path: str | Path) -> Path:
        """Write a JSON file; numbers keep all their digits."""
        path = Path(path).expanduser()
        if path.is_dir() or not path.parent.is_dir():
            raise ArgumentError("path", repr(str(path)), "give a file in a folder that exists")
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["proof"] = None if self.proof is None else vars(self.proof)
        record["region"] = None if self.region is None else vars(self.region)
        path.write_text(json.dumps({"separatrix certificate": 1, **record}, default=_plain, indent=1) + "\n", "utf-8")
        return path

    @staticmethod
    def load(path: str | Path) -> Certificate:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArgumentError
            If the file holds something else.
        """
        try:
            record = json.loads(Path(path).expanduser().read_text("utf-8"), object_hook=_rich)
            if record.pop("separatrix certificate") != 1:
                raise KeyError
            if record["proof"] is not None:
                record["proof"] = Proof(**{**record["proof"], "notes": tuple(record["proof"]["notes"])})
            if record["region"] is not None:
                record["region"] = Region(**record["region"])
            record |= {name: tuple(record[name]) for name in ("assumptions", "evidence")}
            return Certificate(**{**record, "verdict": Verdict(record["verdict"])})
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            raise ArgumentError("path", str(path), "give a file written by Certificate.save") from error


def _states(x: Any, n: int) -> Tensor:
    """States (*batch, n) in float64; a grid stands for its points."""
    if isinstance(x, Plane):
        x = x.points(0, len(x)).reshape(*x.shape, -1)
    try:
        found = torch.as_tensor(x)
        if found.is_complex():
            raise TypeError
        found = found.detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError("x", type(x).__name__, f"give states (*batch, {n})") from None
    found = found[None] if found.ndim == 0 else found
    if found.shape[-1] != n:
        raise ArgumentError("x", f"shape {tuple(found.shape)}", f"give states (*batch, {n})")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    if hasattr(value, "tolist"):
        return _plain(torch.as_tensor(value))
    return str(value)


def _rich(record: dict[str, Any]) -> Any:
    if set(record) == {"tensor", "dtype", "shape"}:
        return torch.tensor(record["tensor"], dtype=getattr(torch, record["dtype"])).reshape(record["shape"])
    return record


def refused(failures: list[Failure]) -> tuple[tuple[str, ...], str]:
    """Evidence and advice from what was tried."""
    evidence = tuple(f"{failure.method}: {failure.reason}" for failure in failures)
    advice = "; ".join(dict.fromkeys(failure.advice for failure in failures if failure.advice))
    return evidence, advice
