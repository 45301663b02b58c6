"""What a request for an assessment must fit: asked by the server, and by a client before it sends gigabytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def require_covariates(declared: Mapping[str, bool], given: Iterable[str]) -> None:
    """Refuse covariates that the model does not declare, that come twice, or that lack.

    Args:
        declared: Names of the model's covariates, and whether each is required.
        given: Names in the request.

    Raises:
        InvalidRequest: They do not fit.
    """
    names = list(given)
    if len(set(names)) < len(names) or not set(names) <= set(declared):
        raise InvalidRequest(
            "A covariate is given twice, or is none that the model declares. GetModel lists them.",
            declared=",".join(sorted(declared)) or "none",
        )
    if missing := sorted(name for name, required in declared.items() if required and name not in names):
        raise InvalidRequest("The model needs covariates that the request does not give.", missing=",".join(missing))
