from .ledger import Claim, Entry, Finding, Kind, Ledger, Verdict, judge
from .measurement import Accept, Baseline, Measurement, at_least, at_most, between, factor, near, positive
from .run import StudyRun, find_study, run_study, studies
from .study import Context, Figure, MissingData, Part, Piece, Study, Table

__all__ = [
    "Accept",
    "Baseline",
    "Claim",
    "Context",
    "Entry",
    "Figure",
    "Finding",
    "Kind",
    "Ledger",
    "Measurement",
    "MissingData",
    "Part",
    "Piece",
    "Study",
    "StudyRun",
    "Table",
    "Verdict",
    "at_least",
    "at_most",
    "between",
    "factor",
    "find_study",
    "judge",
    "near",
    "positive",
    "run_study",
    "studies",
]
