"""Errors and warnings that name the argument, what it got, and what to do."""

from __future__ import annotations


class ArgumentError(ValueError):
    """A public function got an argument that it cannot use.

    Parameters
    ----------
    argument : str
        Name of the argument as the caller typed it.
    got : str
        What was received, in words.
    remedy : str
        What is allowed, and what to do.
    """

    def __init__(self, argument: str, got: str, remedy: str) -> None:
        super().__init__(f"{argument}: got {got}; {remedy}")
        self.argument = argument
        self.got = got
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.argument, self.got, self.remedy)


class SeparatrixWarning(UserWarning):
    """The result is right, but it was reached in a way the caller should know of."""
