"""Uploads blobs (distribution-spec v1.1.1, "Pushing blobs", end-4 to end-6, end-11 and end-13).

A blob goes in one request as long as that works. What was cut goes on from the offset that the registry reports, in
chunks; who refuses a body for its size (413) gets smaller ones, and every later upload starts with those. Each request
reads on where the one before stopped; where a registry has less than was sent, the blob is opened anew and read up to
there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from builder.errors import MbuildError, RegistryError
from builder.host.http import NetworkError, Request, Response
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Blob
from builder.registry.errors import AccessDenied, NotThere, RegistryRefused, refusal, unexpected
from builder.registry.exchange import Exchange, post
from builder.registry.retry import Patience, Retry

FIRST_CHUNK = 64 << 20
"""The size of chunks once chunks are needed."""

_SMALLEST_CHUNK, _SMALLEST_AFTER_A_CUT, _SMALLER = 64 << 10, 4 << 20, 4
_FORWARD = 1 << 20
"""So many new bytes in the registry are progress, and renew the patience."""

_BYTES = "application/octet-stream"
_TIMEOUT = 600.0
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_NO_CHUNKS = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_TOOK_TOO_LONG = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)


class UploadLost(RegistryError):
    code = "upload-lost"
    message = "the registry {registry} lost the upload of {digest}: {reason}"
    hint = "push again: what is whole in the registry is not uploaded a second time"


class BodyTooLarge(RegistryRefused):
    code = "body-too-large"
    message = "the registry takes no request of {size} bytes ({verb} {url}: {reason})"
    hint = "a proxy before the registry has a limit for bodies that is too low: ask its owner to raise it"


@dataclass(slots=True)
class Session:
    """An upload that the registry opened: where it goes on, the least that a chunk must have, the bytes that it has
    (``offset``) and that were sent. ``doubtful``: ask for the offset first; ``resumed``: that was done once."""

    location: str
    least: int = 0
    offset: int = 0
    sent: int = 0
    doubtful: bool = False
    resumed: bool = False


@dataclass(slots=True)
class _Work:
    """One blob on its way. ``reached``: the most bytes that the registry had; ``most``: that a request may have."""

    blob: Blob
    patience: Patience
    report: Callable[[int], None]
    body: _Body = field(init=False)
    reached: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        self.body = _Body(self.blob.open)

    @property
    def descriptor(self) -> Descriptor:
        return self.blob.descriptor

    def piece(self, session: Session, length: int) -> Iterator[bytes]:
        """The bytes from the session's offset on; the last piece reads to the end, where the blob is verified."""
        position, end = session.offset, session.offset + length
        for chunk in self.body.read(position, length):
            self.report(position)
            position += len(chunk)
            session.sent = max(session.sent, position)  # some of it may arrive, whatever happens now
            yield chunk
        if end == self.descriptor.size:
            self.body.finish()
        self.report(end)

    def came_to(self, offset: int) -> None:
        if offset >= self.reached + _FORWARD:
            self.reached = offset
            self.patience.renew()

    def was_cut(self) -> None:
        self.most = max(self.most // _SMALLER, _SMALLEST_AFTER_A_CUT) if self.most else FIRST_CHUNK


class Uploads:
    """Into one repository, several at a time. What is learnt of the size of requests holds for all of them."""

    def __init__(self, exchange: Exchange, retry: Retry) -> None:
        self._exchange, self._retry = exchange, retry
        self._most: int | None = None
        self._chunks_refused = False

    def has(self, descriptor: Descriptor) -> bool:
        """HEAD. A blob of another size than described counts as not there, so that it is uploaded again."""
        request = Request(verb="HEAD", url=self._exchange.url("blobs", str(descriptor.digest)))
        with self._exchange.send(request) as response:
            if response.status == HTTPStatus.NOT_FOUND:
                return False
            self._exchange.expect(response, "HEAD", HTTPStatus.OK)
            return response.headers.get("Content-Length", str(descriptor.size)) == str(descriptor.size)

    def mount(self, digest: Digest, source: str) -> Session | None:
        """Take a blob over from another repository: None when that is done, else the upload that was opened for it."""
        url = self._exchange.url("blobs", "uploads", "") + "?" + urlencode({"mount": str(digest), "from": source})

        def ask() -> Session | None:
            with self._exchange.send(post(url)) as response:
                return None if response.status == HTTPStatus.CREATED else self._opened(response)

        try:
            return self._retry(ask)
        except (AccessDenied, NotThere, RegistryRefused):
            return self._retry(self._open)

    def upload(self, blob: Blob, session: Session | None, report: Callable[[int], None]) -> None:
        """Upload a blob, where given in an open session. ``report`` hears how far it is, and may raise to end it.

        Raises RegistryError and its kinds, and what reading the blob raises.
        """
        work = _Work(blob, self._retry.patience(), report)
        while True:
            try:
                if session and session.doubtful:
                    session = self._asked(session, work)
                if session is None:
                    if work.body.was_read and self.has(work.descriptor):  # it was the answer that got lost
                        return
                    session = self._open()
                self._send(session, work)
                return
            except BodyTooLarge as error:
                self._shrink(error)
            except MbuildError as error:
                session = self._mended(error, session, work)

    # where an upload stands

    def _open(self) -> Session:
        with self._exchange.send(post(self._exchange.url("blobs", "uploads", ""))) as response:
            return self._opened(response)

    def _opened(self, response: Response) -> Session:
        self._exchange.expect(response, "POST", HTTPStatus.ACCEPTED)
        location = response.headers.get("Location")
        if not location:
            raise unexpected(response, "POST", "it opened an upload and did not say where (no Location)")
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        return Session(location=self._exchange.location(location), least=int(least) if least.isdigit() else 0)

    def _asked(self, session: Session, work: _Work) -> Session | None:
        """The session as the registry reports it; None where it does not know it any more, or says what cannot be."""
        try:
            with self._exchange.send(Request(verb="GET", url=session.location, allow_redirects=False)) as response:
                self._exchange.expect(response, "GET", HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED)
                self._move(session, response)
                offset = _reported(response)
        except MbuildError as error:
            if error.temporary:
                raise
            return None
        if offset is None or offset > session.sent or (offset and self._chunks_refused):
            return None
        work.came_to(offset)
        session.offset, session.doubtful, session.resumed = offset, False, True
        return session

    def _move(self, session: Session, response: Response) -> None:
        if location := response.headers.get("Location"):
            session.location = self._exchange.location(location)

    def _mended(self, error: MbuildError, session: Session | None, work: _Work) -> Session | None:
        """The session to go on with, after a wait; None: a new one. Raises the error where there is no going on."""
        if session is None or error.temporary:
            work.patience.endure(error)
            if isinstance(error, NetworkError) or error.facts.get("status") in _TOOK_TOO_LONG:
                work.was_cut()
            if session:
                session.doubtful = True
            return session
        gone = isinstance(error, NotThere)
        disputed = error.facts.get("status") == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if gone or disputed or (session.resumed and isinstance(error, RegistryRefused)):
            work.patience.endure(self._lost(work, str(error)))
            session.doubtful = True
            return session if disputed else None
        raise error

    def _lost(self, work: _Work, reason: str) -> UploadLost:
        registry, digest = self._exchange.registry, work.descriptor.digest
        return UploadLost(registry=registry, digest=digest, reason=reason, temporary=True)

    def _shrink(self, refused: BodyTooLarge) -> None:
        """Smaller requests from now on; raises the refusal where they are as small as is sensible."""
        size = int(str(refused.facts["size"]))
        smaller = min(FIRST_CHUNK, size // _SMALLER)
        if smaller < _SMALLEST_CHUNK or self._chunks_refused:
            raise refused
        self._most = min(self._most or smaller, smaller)

    # sending

    def _send(self, session: Session, work: _Work) -> None:
        """Everything from the session's offset on, in as few requests as are allowed."""
        size = work.descriptor.size
        most = self._most_for(session, work)
        if session.offset == 0 and size <= most:
            self._finish(session, work, size)
            return
        while session.offset < size:
            self._patch(session, work, min(most, size - session.offset))
        self._finish(session, work, 0)

    def _most_for(self, session: Session, work: _Work) -> int:
        limits = [limit for limit in (self._most, work.most) if limit]
        if self._chunks_refused or not limits:
            return work.descriptor.size
        return max(min(limits), session.least)

    def _patch(self, session: Session, work: _Work, length: int) -> None:
        end = session.offset + length
        headers = {"Content-Type": _BYTES, "Content-Range": f"{session.offset}-{end - 1}"}
        request = Request(verb="PATCH", url=session.location, headers=headers, length=length)
        with self._transfer(request, session, work) as response:
            if response.status in _NO_CHUNKS and not self._most:
                self._chunks_refused = True
                raise self._lost(work, f"it takes no chunks (status {response.status})")
            self._exchange.expect(response, "PATCH", HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, what="such upload")
            self._move(session, response)
            offset = _reported(response)
        if offset not in (None, end):
            raise self._lost(work, f"of {end} bytes it has {offset}")
        session.offset = end
        work.came_to(end)

    def _finish(self, session: Session, work: _Work, length: int) -> None:
        """The PUT that ends an upload, with the whole blob or with nothing more."""
        joint = "&" if urlsplit(session.location).query else "?"
        url = session.location + joint + urlencode({"digest": str(work.descriptor.digest)})
        request = Request(verb="PUT", url=url, headers={"Content-Type": _BYTES}, length=length)
        with self._transfer(request, session, work) as response:
            self._exchange.expect(response, "PUT", HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, what="such upload")

    def _transfer(self, request: Request, session: Session, work: _Work) -> Response:
        length = request.length or 0
        request = replace(request, timeout=_TIMEOUT, allow_redirects=False, body=b"", length=length or None)
        response = self._exchange.send(request, (lambda: work.piece(session, length)) if length else None)
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and length:
            session.doubtful = True
            with response:
                raise BodyTooLarge(**refusal(response, request.verb).facts, size=length)
        return response


class _Body:
    """The bytes of a blob: read on where the last piece ended, and opened anew for what lies before."""

    def __init__(self, open_blob: Callable[[], Iterable[bytes]]) -> None:
        self._open_blob = open_blob
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._position = 0
        self.was_read = False

    def read(self, start: int, length: int) -> Iterator[bytes]:
        if not self.was_read or start < self._position:
            self.was_read = True
            self._chunks, self._rest, self._position = iter(self._open_blob()), memoryview(b""), 0
        while self._position < start and self._next():
            self._take(start - self._position)
        end = start + length
        while self._position < end and self._next():
            yield bytes(self._take(end - self._position))

    def finish(self) -> None:
        """Read to the end, where whoever opened the blob says whether it was whole."""
        for _ in self._chunks:
            pass

    def _next(self) -> bool:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._rest = memoryview(chunk)
        return True

    def _take(self, most: int) -> memoryview:
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._position += len(piece)
        return piece


def _reported(response: Response) -> int | None:
    """How many bytes a registry says that it has. ``0-0`` is what they say of none."""
    found = _RANGE.fullmatch(response.headers.get("Range", "").strip())
    last = int(found[1]) if found else None
    return last + 1 if last else last
