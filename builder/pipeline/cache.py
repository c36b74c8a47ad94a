"""The cache as builds and people meet it: cleaned of what the killed left, checked, and kept within bounds."""

from __future__ import annotations

import re

from builder.errors import UsageError
from builder.events import Warned
from builder.host import Host
from builder.host.housekeeping import sweep

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class MalformedSize(UsageError):
    code = "malformed-size"
    message = "{text!r} is not an amount of bytes"
    hint = "write it as 20GB, 500MB or 1.5GiB"


def parse_size(text: str) -> int:
    """Bytes of 20GB (thousands) or 20GiB (1024s). Raises MalformedSize."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise MalformedSize(text=text)
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def sweep_cache(host: Host) -> None:
    """Remove what killed runs left, and say so."""
    swept = sweep(host.store, host.clock)
    if swept.files:
        runs = "a run that was killed" if swept.runs == 1 else f"{swept.runs} runs that were killed"
        said = f"removed from the cache what {runs} left unfinished: {swept.files} files, {swept.size} bytes"
        host.events.emit(Warned(message=said))


def tell_repairs(host: Host) -> None:
    """Say what was found damaged and has been made again."""
    if host.store.repaired:
        names = ", ".join(str(path.relative_to(host.store.root)) for path in host.store.repaired[:5])
        more = f" and {len(host.store.repaired) - 5} more" if len(host.store.repaired) > 5 else ""
        hint = "if nobody wrote to them, look at the disk; `mbuild cache verify` reads everything"
        host.events.emit(Warned(message=f"made again in the cache what was damaged: {names}{more}", hint=hint))
