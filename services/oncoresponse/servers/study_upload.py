"""One UploadInstances stream: headers and chunks to instances of a study."""

from __future__ import annotations

import threading
import zlib

from oncoresponse.errors import ChecksumMismatch, DicomError, InvalidRequest, OncoResponseError
from oncoresponse.storage.instance_upload import InstanceUpload
from oncoresponse.storage.study_indexing import ReadObject
from oncoresponse.storage.study_store import InstanceState, StudyStore
from oncoresponse.v1 import study_pb2


class StudyUpload:
    """Takes the messages of one stream in their order: either :meth:`take` or :meth:`store`. All methods block.

    A stream that is cancelled is closed while a message may still be worked on in a thread; the lock
    keeps the file from being closed under it.

    Args:
        store: Gets the instances.
        check: Refuses what is none, and reads its header.
        durable: An instance survives a power loss as soon as it is finished, not only when its study is complete.
    """

    def __init__(self, store: StudyStore, check: ReadObject, *, durable: bool = False) -> None:
        self._store = store
        self._check = check
        self._durable = durable
        self._lock = threading.Lock()
        self._study = self._digest = ""
        self._awaited_bytes, self._refused = 0, False
        self._failure: OncoResponseError | None = None
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

    def store(self, message: study_pb2.StoreInstancesRequest) -> study_pb2.StoreInstancesResponse | None:
        """Work on the next message of a StoreInstances stream; what became of an instance, when it is the last of it.

        Raises:
            InvalidRequest: As :meth:`take`, but studies may change.
            OncoResponseError: What :class:`StudyStore` raises, but for what is wrong with the instance alone.
        """
        header, chunk = message.header, message.chunk
        with self._lock:
            if self._closed:
                return None
            if message.HasField("header"):
                self._leave()
                self._study, self._digest = header.study, header.sha256
                self._awaited_bytes, self._refused = header.size_bytes, False
            self._awaited_bytes -= len(chunk.data)
            if self._awaited_bytes < 0:
                raise InvalidRequest("More bytes came than the header's size_bytes. Begin each instance with a header.")
            if self._refused:
                # The rest of one that has been answered for, or that ends the stream.
                if self._failure is not None and not self._awaited_bytes:
                    raise self._failure
                return None
            try:
                if message.HasField("header") and not self._awaited_bytes:
                    _require_intact(chunk)
                    self._store.store(header.study, header.sha256, chunk.data, self._check)
                else:
                    if message.HasField("header"):
                        self._begin(header)
                    self._continue(chunk)
            except (DicomError, ChecksumMismatch) as error:
                self._leave()
                self._refused = True
                return study_pb2.StoreInstancesResponse(sha256=self._digest, reason=error.reason)
            except OncoResponseError as error:
                self._leave()
                if not self._awaited_bytes:
                    raise
                # Told when the sender listens: who is in the middle of sending learns only that the stream ended.
                self._refused, self._failure = True, error
                return None
            return None if self._awaited_bytes else study_pb2.StoreInstancesResponse(sha256=self._digest)

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
        _require_intact(chunk)
        if self._current is not None:
            self._store.write(self._study, self._current, chunk.data)
            self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        if self._current is not None and self._current.whole:
            self._store.finish(self._study, self._current, self._check, durable=self._durable)
            self._leave()

    def _leave(self) -> None:
        if self._current is not None:
            self._store.leave(self._study, self._current)
            self._current = None
        self._skipping = False


def _require_intact(chunk: study_pb2.InstanceChunk) -> None:
    if zlib.crc32(chunk.data) != chunk.crc32:
        raise ChecksumMismatch(
            "A chunk does not have the CRC-32 that came with it. Ask ListInstances what has arrived, and go on from "
            "there."
        )
