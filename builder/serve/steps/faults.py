"""What can go wrong in a step, by whose mistake it is."""

from __future__ import annotations


class StepBroken(Exception):
    """The step cannot be opened; the message is one sentence."""


class InputRefused(Exception):
    """What the client sent does not fit; the message names the input and the element."""


class StepFailed(Exception):
    """A step, most likely the user's own code, failed on inputs that were right; ``trace`` says where."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace
