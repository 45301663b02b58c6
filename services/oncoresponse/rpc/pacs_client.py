"""A client with what concerns archives: finding studies there, retrieving them, and what came by itself."""

from __future__ import annotations

import uuid

from oncoresponse.rpc.client import Client, Progress
from oncoresponse.v1 import intake_pb2, intake_pb2_grpc, study_pb2


class PacsClient(Client):
    """:class:`~oncoresponse.rpc.client.Client` with the calls that make the server ask an archive."""

    def find_dicomweb_studies(self, request: study_pb2.FindDicomWebStudiesRequest) -> list[study_pb2.DicomWebStudy]:
        """Studies on a DICOMweb server, in its order.

        Raises:
            UrlNotAllowed, PacsAccessDenied, PeerUnavailable: It may not be read, refuses, or is away.
        """
        with self._errors(self._study_address):
            return list(self._studies.FindDicomWebStudies(request).studies)

    def received_studies(self, request: intake_pb2.ListReceivedStudiesRequest) -> list[intake_pb2.ReceivedStudy]:
        """What came in by the edges, newest first; one page."""
        stub = intake_pb2_grpc.IntakeServiceStub(self._channels[self._study_address])
        with self._errors(self._study_address):
            return list(stub.ListReceivedStudies(request).studies)

    def retrieve_dicomweb_study(self, request: study_pb2.ImportDicomWebRequest, progress: Progress) -> study_pb2.Study:
        """Have the server retrieve a study, or the series of it that a model may need.

        Args:
            request: ``request_id`` may be empty: then it is a new one.
            progress: Is told how many instances have come; how many will come is not known.
        """
        if not request.request_id:
            request.request_id = str(uuid.uuid4())
        study = study_pb2.Study()
        with self._errors(self._study_address):
            for event in self._studies.ImportDicomWeb(request):
                if event.HasField("study"):
                    study = event.study
                else:
                    progress(f"{event.progress.imported} instances", 0.0)
        return study
