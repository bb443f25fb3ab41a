"""Ledgers as plain JSON: numbers that JSON lacks are text, verdicts are written for readers and checked when read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from separatrix.results.errors import ArgumentError
from separatrix.studies.ledger import Claim, Entry, Kind, Ledger
from separatrix.studies.measurement import Accept, Baseline, Measurement

FORMAT = 1


def encode(ledger: Ledger) -> dict[str, Any]:
    """Ledger as nested dicts and lists."""
    return {
        "format": FORMAT,
        "study": ledger.study,
        "scale": ledger.scale,
        "created": ledger.created,
        "environment": dict(ledger.environment),
        "counts": ledger.counts(),
        "entries": [
            {
                **_plain(entry),
                "verdict": None if entry.verdict is None else entry.verdict.value,
                "reason": entry.reason,
            }
            for entry in ledger.entries
        ],
    }


def decode(found: Any, name: str) -> Ledger:
    """Ledger from nested dicts and lists; ``name`` is what errors call it."""
    try:
        if found["format"] != FORMAT:
            raise ArgumentError("path", f"{name!r} in format {found['format']}", f"this version reads format {FORMAT}")
        entries = tuple(_entry(one) for one in found["entries"])
        ledger = Ledger(
            found["study"],
            tuple(entry.claim for entry in entries),
            entries,
            found["scale"],
            found["created"],
            dict(found["environment"]),
        )
        said = [one["verdict"] for one in found["entries"]]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError("path", f"{name!r} ({error!r})", "give a file that Ledger.save wrote") from error
    for entry, verdict in zip(entries, said, strict=True):
        if entry.verdict != verdict:
            raise ArgumentError(
                "path",
                f"verdict {verdict!r} for {entry.claim.id} in {name!r}, where its numbers give {entry.verdict}",
                "verdicts are computed: change the measurements or run the study again",
            )
    return ledger


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and special floats in JSON's own types."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _entry(one: dict[str, Any]) -> Entry:
    claim = one["claim"]
    return Entry(
        Claim(
            **claim
            | {
                "kind": Kind(claim["kind"]),
                "parts": tuple(claim["parts"]),
                "numbers": {name: float(v) for name, v in claim["numbers"].items()},
            }
        ),
        tuple(_measurement(m) for m in one["measurements"]),
        one["command"],
        one["commit"],
        one["remark"],
        one["not_measured"],
    )


def _measurement(one: dict[str, Any]) -> Measurement:
    return Measurement(
        **one
        | {
            "value": float(one["value"]),
            "spread": _maybe(float, one["spread"]),
            "interval": _maybe(_pair, one["interval"]),
            "target": _maybe(float, one["target"]),
            "baseline": _maybe(_baseline, one["baseline"]),
            "accept": _maybe(_accept, one["accept"]),
        }
    )


def _baseline(one: dict[str, Any]) -> Baseline:
    return Baseline(**one | {"value": float(one["value"]), "spread": _maybe(float, one["spread"])})


def _accept(one: dict[str, Any]) -> Accept:
    ends = {"low": float(one["low"]), "high": float(one["high"]), "contrary": _maybe(_pair, one["contrary"])}
    return Accept(**one | ends)


def _pair(pair: Any) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _maybe(make: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else make(value)
