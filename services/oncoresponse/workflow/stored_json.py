"""What the workflow engine writes to its database is JSON, inputs, outputs and errors alike; pickles are never loaded.

Loading a pickle runs whatever it names, so with pickles who can write to the database can run code in the service.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from dbos import Serializer, _serialization

from oncoresponse.errors import InternalError, OncoResponseError, RecordUnreadable, error_for_reason

NAME = "oncoresponse_json"
"""Stands beside each value in the database; another way of writing needs another name."""

PICKLED = "py_pickle"
"""The engine's own name for pickles; release 0.1.0 wrote them."""

STOPPED_BY_ITSELF = "The assessment stopped for a reason of the service itself. Create it again."
"""What is said of an exception that is not one of ours."""

_ERROR = "$error"


class StoredJson(Serializer):
    """JSON as RFC 8259 has it: objects, arrays, texts, finite numbers, booleans, null.

    An error is an object with the one member ``$error``: reason code, message and metadata, as in the answer to a call.
    An exception that is not ours becomes ``INTERNAL``, because texts of libraries may hold what stood in a file.
    A tuple comes back as a list.
    """

    def name(self) -> str:
        """See :data:`NAME`."""
        return NAME

    def serialize(self, data: Any) -> str:
        """The text of a value or an exception.

        Raises:
            TypeError: A value is not plain.
            ValueError: A number is not finite, or a value could be taken for an error.
        """
        if isinstance(data, BaseException):
            return _dump({_ERROR: _plain_error(data)})
        if isinstance(data, dict) and set(data) == {_ERROR}:
            raise ValueError(f"{_ERROR} is kept for errors")
        return _dump(data)

    def deserialize(self, serialized_data: str) -> Any:
        """The value, or the exception, of a text."""
        data = json.loads(serialized_data)
        if isinstance(data, dict) and set(data) == {_ERROR}:
            found = data[_ERROR]
            return error_for_reason(found["reason"], found["message"], found["metadata"])
        return data


def refuse_pickles() -> None:
    """Keep the engine from loading a pickle, whatever the database says of how a value was written.

    The engine picks the serializer by the name beside a value, so a serializer of ours alone would not stop it.
    """
    _serialization.DefaultSerializer.deserialize = _refuse  # type: ignore[assignment]


def _refuse(_: Any, serialized_data: str) -> NoReturn:
    raise RecordUnreadable(
        f"A value of {len(serialized_data)} characters in the workflow database is a pickle and was not read."
    )


def _plain_error(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, OncoResponseError):
        error = InternalError(STOPPED_BY_ITSELF)
    return {"reason": error.reason, "message": error.message, "metadata": dict(error.metadata)}


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
