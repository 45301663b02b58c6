"""Instances of one study to the front door, and what it says of each."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import grpc

from oncoresponse.edges.front_door import Metadata
from oncoresponse.errors import ErrorKind
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.v1 import study_pb2, study_pb2_grpc

_CHUNK_BYTES = 256 * 1024
# One message takes a slice of most kinds whole; less than the rules of the proto allow.
_LARGEST_CHUNK_BYTES = 1024 * 1024
_CALL_SECONDS = 600.0
# What the front door says of one file, and not of the study, the caller or itself.
_OF_ONE_FILE = (ErrorKind.INVALID_INPUT, ErrorKind.DATA_DAMAGED)


@dataclass(frozen=True)
class InstanceFile:
    """An instance as it came.

    Attributes:
        file: Its bytes.
        sha256: Of them, lower-case hexadecimal.
        size_bytes: How many they are.
    """

    file: IO[bytes]
    sha256: str
    size_bytes: int


class InstanceStream:
    """Instances of a study to the front door one after another, each answered before the next is sent.

    Args:
        channel: To the front door.
        metadata: Who sends.
        study: ``studies/...``.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, study: str) -> None:
        self._stub = study_pb2_grpc.StudyServiceStub(channel)
        self._metadata = metadata
        self._study = study
        self._call: Any = None
        # Two senders of one association do not exist, but a cancelled one may still be on its way.
        self._lock = asyncio.Lock()

    async def store(self, data: bytes, sha256: str) -> str:
        """Send an instance; it is on the disk of the front door when this returns.

        Returns:
            Reason code of the refusal of this instance; empty where it is stored.

        Raises:
            grpc.RpcError: The front door refuses more than this instance, or is away. The next one opens a new stream.
        """
        async with self._lock:
            if self._call is None:
                self._call = self._stub.StoreInstances(metadata=self._metadata)
            call = self._call
            try:
                for message in _pieces(self._study, data, sha256):
                    await call.write(message)
                answer = await call.read()
                if answer is grpc.aio.EOF:
                    raise asyncio.InvalidStateError("the front door ended the stream without an answer")
                return str(answer.reason)
            except asyncio.InvalidStateError as error:
                self._call = None
                raise await _ended(call) from error
            except BaseException:
                self._call = None
                call.cancel()
                raise

    async def close(self) -> None:
        """Say that nothing more comes."""
        async with self._lock:
            call, self._call = self._call, None
            if call is not None:
                with suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await call.done_writing()
                    await call.read()


async def upload_instances(
    channel: grpc.aio.Channel, metadata: Metadata, study: str, instances: Sequence[InstanceFile]
) -> dict[str, str]:
    """Send instances; they are on the disk of the front door when this returns.

    Args:
        channel: To the front door.
        metadata: Who sends.
        study: ``studies/...``.
        instances: In one stream, with another one after each that is refused.

    Returns:
        Reason code of the refusal by SHA-256, of those that were refused.

    Raises:
        grpc.RpcError: It refuses more than single files, or is away. What came before is stored.
    """
    stub = study_pb2_grpc.StudyServiceStub(channel)
    refused: dict[str, str] = {}
    waiting = list({instance.sha256: instance for instance in instances}.values())
    while waiting:
        try:
            await stub.UploadInstances(_messages(study, waiting), metadata=metadata, timeout=_CALL_SECONDS)
            break
        except grpc.RpcError as failure:
            error = from_rpc_error(failure)
            if error.kind not in _OF_ONE_FILE:
                raise
            listing = study_pb2.ListInstancesRequest(study=study)
            arrived = await stub.ListInstances(listing, metadata=metadata, timeout=_CALL_SECONDS)
            finished = {instance.sha256 for instance in arrived.instances if instance.finished}
            waiting = [instance for instance in waiting if instance.sha256 not in finished]
            if waiting:
                # A stream is taken in its order, so it is the first of them.
                refused[waiting.pop(0).sha256] = error.reason
    return refused


async def _messages(study: str, instances: Sequence[InstanceFile]) -> AsyncIterator[study_pb2.UploadInstancesRequest]:
    for instance in instances:
        header = study_pb2.InstanceHeader(study=study, sha256=instance.sha256, size_bytes=instance.size_bytes)
        yield study_pb2.UploadInstancesRequest(header=header)
        instance.file.seek(0)
        while data := await asyncio.to_thread(instance.file.read, _CHUNK_BYTES):
            yield study_pb2.UploadInstancesRequest(chunk=study_pb2.InstanceChunk(data=data, crc32=zlib.crc32(data)))


def _pieces(study: str, data: bytes, sha256: str) -> Iterator[study_pb2.StoreInstancesRequest]:
    header = study_pb2.InstanceHeader(study=study, sha256=sha256, size_bytes=len(data))
    for start in range(0, len(data), _LARGEST_CHUNK_BYTES):
        part = data[start : start + _LARGEST_CHUNK_BYTES]
        chunk = study_pb2.InstanceChunk(data=part, crc32=zlib.crc32(part))
        yield study_pb2.StoreInstancesRequest(header=None if start else header, chunk=chunk)


async def _ended(call: Any) -> grpc.RpcError:
    """The error that ended a stream under who writes to it."""
    metadata = (await call.initial_metadata(), await call.trailing_metadata())
    return grpc.aio.AioRpcError(await call.code(), *metadata, details=await call.details())
