"""Bodies in gzip and deflate, both ways (RFC 9110 8.4, 12.5.3)."""

from __future__ import annotations

import zlib

from ..http.answers import Buffer, Refusal, Response

_SMALLEST = 512


def compressed(response: Response, accept_encoding: str) -> Response:
    """The response in the first of gzip and deflate that the client takes, if it is worth it."""
    if sum(map(len, response.body)) < _SMALLEST:
        return response
    coding = _preferred(accept_encoding)
    if coding is None:
        return response
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    body = b"".join([*(packer.compress(part) for part in response.body), packer.flush()])
    headers = (*response.headers, ("Content-Encoding", coding), ("Vary", "Accept-Encoding"))
    return Response(response.status, response.content_type, (body,), headers)


def _preferred(accept_encoding: str) -> str | None:
    accepted = set()
    for option in accept_encoding.lower().split(","):
        name, _, weight = option.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(name.strip())
    return next((coding for coding in ("gzip", "deflate") if coding in accepted), None)


def decompressed(coding: str, body: Buffer, limit: int) -> bytes:
    """Never more than ``limit`` bytes: a small body may claim to be terabytes. Raises Refusal."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        accepted = (("Accept-Encoding", "gzip, deflate"),)
        raise Refusal(415, f"Content-Encoding {coding!r} is not supported, only gzip and deflate", headers=accepted)
    # deflate means zlib's format, but some clients send it bare; its first byte then is not 0x?8.
    window = 31 if coding != "deflate" else 15 if body[:1] and body[0] & 15 == 8 else -15
    parts: list[bytes] = []
    rest, total = bytes(body), 0
    try:
        while rest:
            unpacker = zlib.decompressobj(window)
            part = unpacker.decompress(rest, limit - total + 1)
            total += len(part)
            parts.append(part)
            if total > limit:
                raise Refusal(413, f"decompressed body is larger than {limit} bytes (MBUILD_MAX_BODY)")
            if not unpacker.eof:
                raise Refusal(400, f"body ends inside its {coding} data")
            rest = unpacker.unused_data
            if rest and window != 31:
                raise Refusal(400, f"body has bytes after its {coding} data")
    except zlib.error as error:
        raise Refusal(400, f"body is not {coding} data: {error}") from None
    return b"".join(parts)
