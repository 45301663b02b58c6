"""What a request for an assessment must fit: asked by the server, and by a client before it sends gigabytes."""

from __future__ import annotations

from collections.abc import Iterable

from oncoresponse.errors import InvalidRequest


def require_images(reads_images: bool) -> None:
    """Refuse a model that is predicted from a table alone.

    Raises:
        InvalidRequest: It reads no images.
    """
    if not reads_images:
        raise InvalidRequest(
            "This model reads no images. Predict from its covariates with PredictResponse, or from a table with "
            "'oncoresponse predict'.",
            field="model",
        )


def require_inputs(declared: Iterable[str], named: Iterable[str]) -> None:
    """Refuse series that are selected for an input that the model does not have.

    Args:
        declared: Input roles of the model.
        named: Input roles in the request; empty ones leave it to the modality of the series.

    Raises:
        InvalidRequest: They do not fit.
    """
    inputs = list(declared)
    if any(role and role not in inputs for role in named):
        raise InvalidRequest(
            "A series is selected for an input that the model does not have. GetModel lists its inputs.",
            field="series",
            inputs=",".join(inputs) or "none",
        )


def require_covariates(declared: Iterable[str], given: Iterable[str]) -> None:
    """Refuse covariates that the model does not declare, or that come twice.

    Those that lack are no reason to refuse: the study is measured without them, and the answer names them.

    Args:
        declared: Names of the model's covariates.
        given: Names in the request.

    Raises:
        InvalidRequest: They do not fit.
    """
    known, names = set(declared), list(given)
    if len(set(names)) < len(names) or not set(names) <= known:
        raise InvalidRequest(
            "A covariate is given twice, or is none that the model declares. GetModel lists them.",
            declared=",".join(sorted(known)) or "none",
        )
