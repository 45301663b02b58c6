"""One UploadInstances stream: headers and chunks to instances of a study."""

from __future__ import annotations

import threading
import zlib

from oncoresponse.errors import ChecksumMismatch, InvalidRequest
from oncoresponse.storage.instance_upload import InstanceUpload
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_store import InstanceState, StudyStore
from oncoresponse.v1 import study_pb2


class StudyUpload:
    """Takes the messages of one stream in their order. All methods block.

    A stream that is cancelled is closed while a message may still be worked on in a thread; the lock
    keeps the file from being closed under it.
    """

    def __init__(self, store: StudyStore, check: ReadObject) -> None:
        self._store = store
        self._check = check
        self._lock = threading.Lock()
        self._study = ""
        self._named: set[str] = set()
        self._current: InstanceUpload | None = None
        self._skipping = False
        self._closed = False

    def take(self, message: study_pb2.UploadInstancesRequest) -> None:
        """Work on the next message.

        Raises:
            InvalidRequest: A chunk without a header, a second study, more bytes than the header says, or an
                offset past what has arrived.
            ChecksumMismatch: A chunk or the whole instance changed on the way.
            OncoResponseError: What :class:`StudyStore` raises.
        """
        with self._lock:
            if self._closed:
                return
            if message.HasField("header"):
                self._begin(message.header)
            else:
                self._continue(message.chunk)

    def states(self) -> list[InstanceState]:
        """What has arrived of every instance the stream named, ordered by digest."""
        if not self._study:
            raise InvalidRequest("The stream held no message. Begin with a header.")
        known = {state.sha256: state for state in self._store.instances(self._study)}
        nothing = InstanceState(sha256="", received_bytes=0, finished=False)
        return [known.get(digest, nothing.model_copy(update={"sha256": digest})) for digest in sorted(self._named)]

    def close(self) -> None:
        """Close the file; what has arrived stays."""
        with self._lock:
            self._closed = True
            self._leave()

    def _begin(self, header: study_pb2.InstanceHeader) -> None:
        self._leave()
        if self._study and header.study != self._study:
            raise InvalidRequest("All headers of a stream name the same study. Use one stream for each study.")
        self._study = header.study
        self._named.add(header.sha256)
        self._current = self._store.receive(header.study, header.sha256, header.size_bytes, header.offset_bytes)
        self._skipping = self._current is None
        self._finish_if_whole()

    def _continue(self, chunk: study_pb2.InstanceChunk) -> None:
        if self._current is None and not self._skipping:
            raise InvalidRequest("A chunk came where a header was due. Begin each instance with its header.")
        if zlib.crc32(chunk.data) != chunk.crc32:
            raise ChecksumMismatch(
                "A chunk does not have the CRC-32 that came with it. Ask ListInstances what has arrived, "
                "and go on from there."
            )
        if self._current is not None:
            self._store.write(self._study, self._current, chunk.data)
            self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        if self._current is not None and self._current.whole:
            self._store.finish(self._study, self._current, self._check)
            self._leave()

    def _leave(self) -> None:
        if self._current is not None:
            self._store.leave(self._study, self._current)
            self._current = None
        self._skipping = False
