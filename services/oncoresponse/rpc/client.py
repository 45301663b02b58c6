"""A client of the gRPC front door: what the command line uses, and an example for integrators."""

from __future__ import annotations

import hashlib
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from oncoresponse.case.directory_walk import files_below
from oncoresponse.dicom.file_kind import HEAD_BYTES, is_dicom, is_media_directory
from oncoresponse.errors import ConfigurationError, ModelNotActive, OncoResponseError
from oncoresponse.model.request_rules import require_covariates, require_images, require_inputs
from oncoresponse.rpc.addresses import host_of, is_loopback
from oncoresponse.rpc.caller_metadata import CallerMetadata
from oncoresponse.rpc.interceptors import require_valid
from oncoresponse.rpc.status import from_rpc_error, from_status, is_answered
from oncoresponse.rpc.tls import CallerTls, connection_fault
from oncoresponse.v1 import (
    assessment_pb2,
    assessment_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    monitoring_pb2,
    monitoring_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
    study_pb2,
    study_pb2_grpc,
)

_CHUNK_BYTES = 256 * 1024
_CONNECT_SECONDS = 5.0
_REWATCH_SECONDS = 120.0
_REWATCH_PAUSE_SECONDS = 1.0

Progress = Callable[[str, float], None]
"""Called with what happens now and the fraction done, 0 to 1."""


@dataclass(frozen=True)
class Order:
    """What is asked of an assessment, beside the study.

    Attributes:
        model: Name of the model, such as ``sts-petct``.
        covariates: Clinical inputs by name, in the unit the model declares.
        planned_treatment: Shown in the report; never an input.
        contour: ``None`` for automatic segmentation; else which contour of the study to use.
        lesion: Where the lesion is, for a scan that is not cropped around it; excludes ``contour``.
        lesions: The lesions to measure, any of them by a point, a box or a contour; excludes both above.
        patient_id: DICOM Patient ID that the study must have; ``None`` for no check.
        patient_reference: FHIR reference of the patient in the EHR, ``Patient/...``; empty for none.
        series: Series to use where several of the study fit.
        replaces: Earlier assessment of the same patient that this one replaces, ``assessments/...``; empty for none.
        deliver_to: Destinations of the settings of the server that the report goes to.
    """

    model: str
    covariates: dict[str, float] = field(default_factory=dict)
    planned_treatment: str = ""
    contour: study_pb2.SuppliedContour | None = None
    lesion: assessment_pb2.LesionPrompt | None = None
    lesions: tuple[assessment_pb2.LesionSelection, ...] = ()
    patient_id: str | None = None
    patient_reference: str = ""
    series: tuple[study_pb2.SeriesSelection, ...] = ()
    replaces: str = ""
    deliver_to: tuple[str, ...] = ()


class Client:
    """Synchronous client of one server.

    Args:
        address: ``HOST:PORT`` of AssessmentService, and of the two others unless they have their own.
        tls: What to trust and to show; ``None``, or the certificate authority alone. Without, the connection is not
            encrypted.
        study_address: ``HOST:PORT`` of StudyService, where no proxy joins the services behind one address.
        model_address: The same of ModelService.
        monitoring_address: The same of MonitoringService.
        token: Says who calls; empty where the server asks for none, or a client certificate says it.
        emergency_reason: Why the caller has to see what is closed to it (break glass); such calls are reported.

    Raises:
        ConfigurationError: The token would cross a network unencrypted.
    """

    def __init__(
        self,
        address: str,
        tls: CallerTls | Path | None = None,
        *,
        study_address: str | None = None,
        model_address: str | None = None,
        monitoring_address: str | None = None,
        token: str = "",
        emergency_reason: str = "",
    ) -> None:
        self._tls = tls if isinstance(tls, CallerTls) else CallerTls(tls)
        metadata = CallerMetadata(token, emergency_reason=emergency_reason)

        def channel(target: str) -> grpc.Channel:
            if self._tls.is_wanted:
                options = self._tls.channel_options()
                opened = grpc.secure_channel(target, self._tls.channel_credentials(), options=options)
            elif token and not is_loopback(host_of(target)):
                raise ConfigurationError(
                    "The token would cross the network unencrypted. Give the certificate authority of the server."
                )
            else:
                opened = grpc.insecure_channel(target)
            return grpc.intercept_channel(opened, metadata)

        addresses = {item or address for item in (None, study_address, model_address, monitoring_address)}
        self._channels = {target: channel(target) for target in sorted(addresses)}
        self._address, self._study_address = address, study_address or address
        self._model_address, self._monitoring_address = model_address or address, monitoring_address or address
        self._assessments = assessment_pb2_grpc.AssessmentServiceStub(self._channels[address])
        self._reports = report_pb2_grpc.ReportServiceStub(self._channels[address])
        self._studies = study_pb2_grpc.StudyServiceStub(self._channels[study_address or address])
        self._models = model_pb2_grpc.ModelServiceStub(self._channels[model_address or address])
        self._monitoring = monitoring_pb2_grpc.MonitoringServiceStub(self._channels[monitoring_address or address])

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            channel.close()

    def upload_study(self, directory: Path, progress: Progress) -> study_pb2.Study:
        """Send every DICOM file below a directory and complete the study.

        Files that are not DICOM are left out; symbolic links are followed. Raises what the server answers.

        Raises:
            ConfigurationError: There is no DICOM file, or a file cannot be read.
            PeerUnavailable: No server answers within a few seconds.
        """
        with _unreadable_files():
            return self._upload_study(directory, progress)

    def _upload_study(self, directory: Path, progress: Progress) -> study_pb2.Study:
        files = study_files(directory)
        sizes = [path.stat().st_size for path in files]
        total, sent = max(sum(sizes), 1), 0
        self._require_connection(self._study_address)
        with self._errors(self._study_address):
            request_id = str(uuid.uuid4())
            study: study_pb2.Study = self._studies.CreateStudy(
                study_pb2.CreateStudyRequest(request_id=request_id), timeout=60
            ).study
            digests: set[str] = set()

            def messages() -> Iterator[study_pb2.UploadInstancesRequest]:
                nonlocal sent
                for path in files:
                    data = path.read_bytes()
                    digest = hashlib.sha256(data).hexdigest()
                    if digest in digests:
                        continue
                    digests.add(digest)
                    header = study_pb2.InstanceHeader(study=study.name, sha256=digest, size_bytes=len(data))
                    yield study_pb2.UploadInstancesRequest(header=header)
                    for start in range(0, len(data), _CHUNK_BYTES):
                        chunk = data[start : start + _CHUNK_BYTES]
                        yield study_pb2.UploadInstancesRequest(
                            chunk=study_pb2.InstanceChunk(data=chunk, crc32=zlib.crc32(chunk))
                        )
                    sent += len(data)
                    progress(f"Sending {len(files)} DICOM files", min(sent / total, 1.0))

            self._studies.UploadInstances(messages())
            complete = study_pb2.CompleteStudyRequest(study=study.name, instance_count=len(digests))
            completed: study_pb2.Study = self._studies.CompleteStudy(complete).study
        return completed

    def assess(self, study: study_pb2.Study, order: Order, progress: Progress) -> assessment_pb2.Assessment:
        """Create an assessment and watch it to its end.

        Raises:
            OncoResponseError: The request was refused, or the assessment failed.
        """
        return self.watch(self.create_assessment(study, order, str(uuid.uuid4())).name, progress)

    def create_assessment(self, study: study_pb2.Study, order: Order, request_id: str) -> assessment_pb2.Assessment:
        """Create an assessment and return at once. The same ``request_id`` gives the same assessment."""
        request = _assessment_request(study.name, order, request_id)
        with self._errors(self._address):
            created: assessment_pb2.Assessment = self._assessments.CreateAssessment(request).assessment
        return created

    def check_order(self, order: Order) -> None:
        """Everything about an order that can be known before the study is sent: fields, model and covariates.

        Raises:
            OncoResponseError: CreateAssessment would refuse it.
        """
        require_valid_order(order)
        self._require_connection(self._model_address)
        with self._errors(self._model_address):
            model = self._models.GetModel(model_pb2.GetModelRequest(name=f"models/{order.model}"), timeout=60).model
        # An earlier release does not say.
        if model.state not in (model_pb2.MODEL_STATE_UNSPECIFIED, model_pb2.MODEL_STATE_ACTIVE):
            raise ModelNotActive(
                "No version of this model is active. Two people make one active: 'oncoresponse models propose' and "
                "'oncoresponse models approve'.",
                model=model.name,
            )
        require_images(bool(model.inputs))
        require_covariates([item.name for item in model.covariates], order.covariates)
        require_inputs([item.role for item in model.inputs], [item.input_role for item in order.series])

    def watch(self, name: str, progress: Progress) -> assessment_pb2.Assessment:
        """Follow an assessment to its end; where a connection ends before, because of its age or because the service
        is started anew, it is watched again.

        Raises:
            PeerUnavailable: No service has answered for two minutes.
            OncoResponseError: The assessment failed.
        """
        assessment = assessment_pb2.Assessment(name=name)
        request = assessment_pb2.WatchAssessmentRequest(name=name)
        revision, lost_since = -1, None
        while True:
            try:
                # The first message is the current state, so nothing is missed between two connections.
                for update in self._assessments.WatchAssessment(request):
                    lost_since = None
                    assessment = update.assessment
                    if assessment.revision != revision:
                        revision = assessment.revision
                        progress(assessment.message, assessment.fraction_done)
                break
            except grpc.RpcError as error:
                now = time.monotonic()
                lost_since = lost_since or now
                lost = error.code() is grpc.StatusCode.UNAVAILABLE and revision >= 0
                if not lost or now - lost_since > _REWATCH_SECONDS:
                    with self._errors(self._address):
                        raise
                time.sleep(_REWATCH_PAUSE_SECONDS)
        if assessment.state == assessment_pb2.ASSESSMENT_STATE_FAILED:
            raise from_status(assessment.error)
        return assessment

    def cancel(self, name: str) -> assessment_pb2.Assessment:
        """Stop an assessment; a finished one stays as it is."""
        with self._errors(self._address):
            request = assessment_pb2.CancelAssessmentRequest(name=name)
            cancelled: assessment_pb2.Assessment = self._assessments.CancelAssessment(request).assessment
        return cancelled

    def download_artifacts(self, assessment: assessment_pb2.Assessment, directory: Path) -> list[Path]:
        """Write every artifact of a finished assessment into a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        with self._errors(self._address):
            for name in sorted(assessment.result.artifacts):
                request = assessment_pb2.GetArtifactRequest(assessment=assessment.name, file_name=name)
                path = directory / name
                with path.open("wb") as file:
                    for part in self._assessments.GetArtifact(request):
                        file.write(part.data)
                written.append(path)
        return written

    def artifact(self, assessment: str, file_name: str, report_version: int = 0) -> bytes:
        """One artifact of a finished assessment; of a report the newest version, or the one that is named."""
        request = assessment_pb2.GetArtifactRequest(
            assessment=assessment, file_name=file_name, report_version=report_version
        )
        with self._errors(self._address):
            return b"".join(part.data for part in self._assessments.GetArtifact(request))

    def report(self, assessment: str) -> report_pb2.Report:
        """The report of an assessment with all of its versions."""
        with self._errors(self._address):
            found: report_pb2.Report = self._reports.GetReport(
                report_pb2.GetReportRequest(assessment=assessment)
            ).report
        return found

    def sign_report(self, request: report_pb2.SignReportRequest) -> report_pb2.Report:
        """Sign a preliminary report, as the caller that the token or the certificate names."""
        with self._errors(self._address):
            signed: report_pb2.Report = self._reports.SignReport(request).report
        return signed

    def amend_report(self, request: report_pb2.AmendReportRequest) -> report_pb2.Report:
        """Sign a signed report again."""
        with self._errors(self._address):
            amended: report_pb2.Report = self._reports.AmendReport(request).report
        return amended

    def withdraw_report(self, request: report_pb2.WithdrawReportRequest) -> report_pb2.Report:
        """Take a report back; it stays withdrawn."""
        with self._errors(self._address):
            withdrawn: report_pb2.Report = self._reports.WithdrawReport(request).report
        return withdrawn

    def record_judgement(self, request: report_pb2.RecordJudgementRequest) -> report_pb2.Report:
        """Keep the caller's own judgement, once."""
        with self._errors(self._address):
            judged: report_pb2.Report = self._reports.RecordJudgement(request).report
        return judged

    def models(self) -> list[model_pb2.Model]:
        """All installed models."""
        with self._errors(self._model_address):
            return list(self._models.ListModels(model_pb2.ListModelsRequest(page_size=1000)).models)

    def record_outcome(self, request: monitoring_pb2.RecordOutcomeRequest) -> bool:
        """Say what happened to the patient of an assessment; gives whether it replaced an earlier outcome.

        Raises:
            PredictionNotFound: No prediction of this assessment is recorded (yet).
        """
        with self._errors(self._monitoring_address):
            replaced: bool = self._monitoring.RecordOutcome(request).replaced
        return replaced

    def monitoring_report(
        self, request: monitoring_pb2.GetMonitoringReportRequest
    ) -> monitoring_pb2.GetMonitoringReportResponse:
        """Drift, abstention and performance of a model."""
        with self._errors(self._monitoring_address):
            response: monitoring_pb2.GetMonitoringReportResponse = self._monitoring.GetMonitoringReport(request)
        return response

    @contextmanager
    def _errors(self, address: str) -> Iterator[None]:
        """Turns a failed call into the error that the server meant, or into why there was no server."""
        try:
            yield
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and not is_answered(error):
                raise connection_fault(address, self._tls) from None
            raise from_rpc_error(error) from None

    def _require_connection(self, address: str) -> None:
        try:
            grpc.channel_ready_future(self._channels[address]).result(timeout=_CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise connection_fault(address, self._tls) from None


def require_valid_order(order: Order) -> None:
    """Check the fields of an order against the rules of the protos, without a server.

    Raises:
        FieldViolations: A field breaks one.
    """
    require_valid(_assessment_request("studies/not-sent-yet", order, str(uuid.uuid4())))


def _assessment_request(study: str, order: Order, request_id: str) -> assessment_pb2.CreateAssessmentRequest:
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=request_id,
        study=study,
        model=f"models/{order.model}",
        planned_treatment=order.planned_treatment,
        patient_reference=order.patient_reference,
        series=order.series,
        lesions=order.lesions,
        replaces=order.replaces,
        deliver_to=order.deliver_to,
    )
    for name, value in sorted(order.covariates.items()):
        request.covariates.add(name=name, value=value)
    if order.contour is not None:
        request.contour.CopyFrom(order.contour)
    if order.lesion is not None:
        request.lesion.CopyFrom(order.lesion)
    if order.patient_id is not None:
        request.expected_patient.patient_id = order.patient_id
    return request


@contextmanager
def _unreadable_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Not the file's name: people name files after patients.
        raise ConfigurationError(
            f"A file in the study directory cannot be read ({error.strerror}). Correct that, or leave it out."
        ) from error


def study_files(directory: Path) -> list[Path]:
    """The DICOM files below a directory, by name.

    Raises:
        ConfigurationError: There is none, or a file cannot be read.
    """
    with _unreadable_files():
        files = [path for path in files_below(directory) if path.is_file() and _is_dicom(path)]
    if not files:
        raise ConfigurationError("There are no DICOM files in this directory. Give the directory of the study.")
    return files


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return is_dicom(head) and not is_media_directory(head)


__all__ = ["Client", "OncoResponseError", "Order", "Progress"]
