"""Where the minimal server and Triton differ, and why that stays. docs/server.md has this table; a test holds it to it.

A test that meets one of these asks ``Endpoint.differs`` with its key; everything else is the same on both servers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    what: str
    triton: str
    here: str
    why: str

    def row(self) -> str:
        return f"| {self.what} | {self.triton} | {self.here} | {self.why} |"


DIFFERENCES = {
    "wrong-request": Difference(
        what="a body that is no JSON, or a field of the wrong type",
        triton="500",
        here="400",
        why="a 5xx would say that the server is broken, and clients would try again",
    ),
    "null": Difference(
        what="`null` for `id` or `outputs`",
        triton="500",
        here="as if absent",
        why="what serialisers write for what is not there",
    ),
    "utf-8": Difference(
        what="JSON that is not UTF-8, in a part that nobody reads",
        triton="accepted",
        here="400",
        why="RFC 8259",
    ),
    "nesting": Difference(
        what="`data` nested otherwise than `shape`",
        triton="accepted",
        here="400",
        why="rows and columns that were mixed up would go unnoticed",
    ),
    "range": Difference(
        what="a number in JSON outside the range of its datatype",
        triton="wraps around, or infinity",
        here="400",
        why="the answer would be to another question",
    ),
    "bool-bytes": Difference(
        what="a byte of binary BOOL other than 0 and 1",
        triton="true",
        here="400",
        why="the protocol knows no other, and kernels may not either",
    ),
    "not-for-triton": Difference(
        what="tensors without dims, BF16",
        triton="such a model is not built",
        here="served",
        why="config.pbtxt cannot say the one, nor numpy the other",
    ),
    "batch-limit": Difference(
        what="more rows than `max_batch_size`",
        triton="400",
        here="served, in one run",
        why="here it bounds only what is put together",
    ),
    "empty-batch": Difference(
        what="a batch of no rows",
        triton="400, or no answer at all where all of it is empty",
        here="answered",
        why="a graph can compute it",
    ),
    "empty-binary": Difference(
        what="binary outputs that are all empty",
        triton="no `Inference-Header-Content-Length`",
        here="with it",
        why="it is a binary response all the same",
    ),
    "raw-shape": Difference(
        what="a raw request of several rows, or of BYTES whose shape is not [1]",
        triton="400",
        here="the batch follows from the size; one element",
        why="one file, one text or some rows is what people send so",
    ),
    "binary-wish": Difference(
        what="`binary_data_output` for outputs that the request names",
        triton="ignored",
        here="holds for those that do not say otherwise",
        why="as the extension's text has it",
    ),
    "parameter-values": Difference(
        what="parameters of the request that are lists, objects or null, or begin with `triton_`",
        triton="400",
        here="ignored",
        why="as every parameter that this server does not know",
    ),
    "timeout": Difference(
        what="parameter `timeout` (microseconds)",
        triton="only where config.pbtxt allows it; mbuild's does not",
        here="503 once it has passed in the queue",
        why="who has given up needs no answer",
    ),
    "shared-memory": Difference(
        what="shared memory, trace and log settings",
        triton="served",
        here="404, their parameters 400",
        why="containers share no memory; settings are the environment's",
    ),
    "unknown-model": Difference(
        what="an unknown model or version in `/ready` and `/stats`",
        triton="400",
        here="404",
        why="as everywhere else",
    ),
    "unknown-load": Difference(
        what="loading a model that does not exist",
        triton="500",
        here="404",
        why="as everywhere else",
    ),
    "failures": Difference(
        what="a request that the model refused, in statistics and metrics",
        triton="a success",
        here="a failure",
        why="Triton's Python backend counts what it has answered",
    ),
    "ready-body": Difference(
        what="body of a model's `/ready`",
        triton="empty",
        here='`{"name", "ready"}`',
        why="as the protocol says",
    ),
    "server-name": Difference(
        what="`name` in `/v2`",
        triton="`triton`",
        here="`mbuild-serve`, or `MBUILD_SERVER_NAME`",
        why="clients that need Triton itself can tell; an example of tritonclient's insists on `triton`",
    ),
    "platform": Difference(
        what="`platform` of a graph",
        triton="`python`",
        here="`onnxruntime_onnx`",
        why="there, Triton's Python backend runs onnxruntime",
    ),
    "metrics-port": Difference(
        what="`/metrics`",
        triton="port 8002",
        here="port 8000, as all else",
        why="one port to open",
    ),
    "paths": Difference(
        what="a slash at a path's end, or letters of it percent-encoded",
        triton="404",
        here="the same path",
        why="RFC 3986",
    ),
    "head": Difference(
        what="HEAD",
        triton="405, with a body",
        here="as GET, without one",
        why="RFC 9110",
    ),
    "strict-http": Difference(
        what="no Host header, another HTTP version, a body with two lengths",
        triton="accepted",
        here="400",
        why="requests are smuggled that way (RFC 9112)",
    ),
    "pipelining": Difference(
        what="pipelined requests",
        triton="some are never answered",
        here="answered in order",
        why="RFC 9112",
    ),
    "half-close": Difference(
        what="a client that closes its sending side",
        triton="answered",
        here="taken for gone",
        why="it looks the same as one that left, whose work would be for nobody",
    ),
    "coding": Difference(
        what="another `Content-Encoding` than gzip and deflate",
        triton="501",
        here="415",
        why="RFC 9110",
    ),
    "broken-coding": Difference(
        what="compressed data that are broken or end too early",
        triton="what could be read of them is the body",
        here="400",
        why="something was lost on the way",
    ),
    "small-compressed": Difference(
        what="responses under 512 bytes to clients that take gzip",
        triton="compressed",
        here="as they are",
        why="compressing them costs more than it saves",
    ),
}
