"""Why a server does not start."""

from __future__ import annotations


class CannotStart(Exception):
    """The message is one sentence for people; ``is_plain``: it is written on a line of its own too, beside the log."""

    is_plain = False
