"""Starts the image in a layout with the embedded runner, says so on stdout as JSON, and stops it when a line comes on
stdin (the line "wait": once it has ended by itself); of an error it says that.
Run as another user, or to be killed: LAYOUT CACHE."""

import json
import sys
from pathlib import Path

from builder.errors import MbuildError
from builder.oci.layout import Layout
from builder.probe.embedded import EmbeddedRunner
from builder.probe.runner import Limits, ProbedImage
from tests.support.hosts import real_host

layout, host = Layout(Path(sys.argv[1])), real_host(Path(sys.argv[2]))
manifest = layout.manifest(layout.find())
image = ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest))
try:
    running = EmbeddedRunner(host).start(image, Limits(memory_bytes=256 << 20))
except MbuildError as error:
    print(json.dumps({"code": error.code, "message": str(error)}), flush=True)
    sys.exit()
print(json.dumps({"address": running.address, "memory_limit": running.memory_limit}), flush=True)
if sys.stdin.readline() == "wait\n":
    while running.state().running:
        host.clock.sleep(0.02)
code = running.stop(10)
print(json.dumps({"code": code, "log": running.log()}), flush=True)
running.close()
