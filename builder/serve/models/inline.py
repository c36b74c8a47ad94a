"""A tiny model's request, whole and at once on the event loop, while nothing waits.

One function from the body to the answer: calls from stage to stage would cost as much as such a model does. What turns
out to be larger goes on as a Call.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from ..http.connection import Exchange
from ..observe.account import Account
from ..observe.metrics import Durations
from ..protocol.codec import decode, encode
from .call import encodes_slowly, refusal_for

if TYPE_CHECKING:
    from .inference import Inference, Served


def answer_at_once(inference: Inference, served: Served, exchange: Exchange) -> None:
    model, metrics, headers = served.model, served.metrics, exchange.request.headers
    response, started = None, monotonic_ns()
    try:
        request = decode(model.signature, headers, exchange.request.body, inference.settings.max_body)
        decoded = monotonic_ns()
        if request.size > served.inline_size:
            outputs, ran = None, decoded
        else:
            outputs = served.run_inline(request.feeds, [wanted.tensor.graph_name for wanted in request.wanted])
            ran = monotonic_ns()
            if not encodes_slowly(request.wanted, outputs, headers):
                accepted = headers.get("accept-encoding", "")
                response = encode((model.name, model.version), request, outputs, accepted)
    except Exception as error:
        refusal = refusal_for(error, inference, served)
        metrics.failed(refusal.reason, monotonic_ns() - exchange.received_ns)
        if inference.tells:
            exchange.account = Account(metrics, Durations())
        exchange.reply(refusal.response())
        return
    if response is None:
        inference.begin(served, exchange).go_on(request, decoded - started, outputs, ran - decoded)
        return
    rows, ended = served.rows(request), monotonic_ns()
    metrics.executed(rows, ran - decoded)
    spent = Durations(ended - exchange.received_ns, 0, decoded - started, ran - decoded, ended - ran)
    metrics.succeeded(spent, rows, rows)
    if inference.tells:
        exchange.account = Account(metrics, spent, request.id or "", run_rows=rows)
    exchange.reply(response)
