"""``make bench-serving``: our servers against what people use, and against ``session.run`` itself, in one run.

Each round visits every server with every model: a start, loads over 1, 8 and 32 connections, memory, right answers
before and after. ``--only WORDS`` takes some of the servers, models and parts. What was measured stays below
``build/bench-serving``: a bench that was stopped goes on, until the sources change. ``--write FILE`` puts the result
between the ``serving`` marks of that file, ``--plot FILE`` draws it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from builder.cli.session import cache_directory
from tests.bench.rows import ROOT
from tests.bench.serving import wrk
from tests.bench.serving.plot import plot
from tests.bench.serving.report import report
from tests.bench.serving.run import chosen, measured
from tests.bench.serving.servers import Bench, available

BEGIN, END = "<!-- serving: make bench-serving -->\n", "<!-- /serving -->\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", metavar="WORDS")
    options.add_argument("--rounds", type=int, default=3, metavar="N")
    options.add_argument("--seconds", type=int, default=2, metavar="N", help="of each load")
    options.add_argument("--write", type=Path, metavar="FILE")
    options.add_argument("--plot", type=Path, metavar="FILE")
    wanted = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server under way is ended, too
    wrk.require()
    bench = Bench(place=ROOT / "build" / "bench-serving", cache=cache_directory())
    servers = available()
    titles = {server.name: server.title for server in servers}
    results = measured(chosen(wanted.only.split(), servers), wanted.rounds, wanted.seconds, bench)
    peers = [server.name for server in servers if not (server.ours or server.is_limit)]
    text = report(results, titles, peers, wanted.seconds)
    if wanted.plot:
        titles = {server.name: server.title for server in servers if not server.is_limit}
        plot(results, titles, [server.name for server in servers if server.ours], wanted.plot)
    if wanted.write is None:
        sys.stdout.write(text)
        return
    if wanted.plot:
        there = os.path.relpath(wanted.plot, wanted.write.parent)
        text = f"![requests a second and CPU for each, by server]({there})\n\n{text}"
    wanted.write.write_text(replaced(wanted.write.read_text(), text))


def replaced(page: str, text: str) -> str:
    """The page with ``text`` between its marks."""
    head, rest = page.split(BEGIN)
    return head + BEGIN + text + END + rest.split(END)[1]


if __name__ == "__main__":
    main()
