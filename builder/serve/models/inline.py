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
from ..protocol.codec import decode
from ..protocol.compression import compressed
from .call import encodes_slowly, refusal_for

INLINE_FREE_NS = 200_000
"""A run that takes longer by the clock on the wall has the next ones watched."""
INLINE_WATCHED = 64
_FEW = 64

if TYPE_CHECKING:
    from .inference import Inference, Served


def answer_at_once(inference: Inference, served: Served, exchange: Exchange) -> None:
    model, metrics, headers, received = served.model, served.metrics, exchange.request.headers, exchange.received_ns
    outputs = response = None
    try:
        request = decode(model.signature, headers, exchange.body, inference.settings.max_body)
        decoded = ran = monotonic_ns()
        if request.size <= served.inline_size:
            run = served.run_watched if served.watched else model.run
            outputs = run(request.feeds, request.form.names)
            ran = monotonic_ns()
            if ran - decoded > INLINE_FREE_NS and not served.watched:
                served.watched = INLINE_WATCHED
            if (len(outputs) == 1 and outputs[0].size <= _FEW) or not encodes_slowly(request.form, outputs, headers):
                response = request.form.response(served.named, request.id, outputs)
                if accepted := headers.get("accept-encoding"):
                    response = compressed(response, accepted)
    except Exception as error:
        _refuse(inference, served, exchange, error)
        return
    if response is None:
        inference.begin(served, exchange).go_on(request, decoded - received, outputs, ran - decoded)
        return
    rows, ended = served.rows(request), monotonic_ns()
    metrics.answered_alone(rows, ended - received, decoded - received, ran - decoded, ended - ran)
    if inference.tells:
        spent = Durations(ended - received, 0, decoded - received, ran - decoded, ended - ran)
        exchange.account = Account(metrics, spent, request.id or "", run_rows=rows)
    exchange.connection.reply(exchange, response)  # nobody can have gone meanwhile


def _refuse(inference: Inference, served: Served, exchange: Exchange, error: Exception) -> None:
    refusal, spent = refusal_for(error, inference, served), monotonic_ns() - exchange.received_ns
    if spent > INLINE_FREE_NS and not served.watched:
        served.watched = INLINE_WATCHED
    served.metrics.failed(refusal.reason, spent)
    if inference.tells:
        exchange.account = Account(served.metrics, Durations())
    exchange.reply(refusal.response())
