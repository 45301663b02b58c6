"""A client of what administrators call: erasure, retention, corrections, change control of models, replays."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from oncoresponse.rpc.client import Client, Progress
from oncoresponse.v1 import (
    administration_pb2,
    administration_pb2_grpc,
    model_control_pb2,
    model_control_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    study_pb2,
)


class AdministrationClient(Client):
    """:class:`~oncoresponse.rpc.client.Client` with the calls of administrators beside all others."""

    @cached_property
    def _administration(self) -> administration_pb2_grpc.AdministrationServiceStub:
        return administration_pb2_grpc.AdministrationServiceStub(self._channels[self._address])

    @cached_property
    def _model_control(self) -> model_control_pb2_grpc.ModelControlServiceStub:
        return model_control_pb2_grpc.ModelControlServiceStub(self._channels[self._model_address])

    @cached_property
    def _replays(self) -> replay_pb2_grpc.ReplayServiceStub:
        return replay_pb2_grpc.ReplayServiceStub(self._channels[self._address])

    def find_studies(self, patient_id: str, issuer: str = "") -> list[study_pb2.Study]:
        """The complete studies of a patient, newest first; of a patient whose ID several may have, with its issuer."""
        found: list[study_pb2.Study] = []
        request = study_pb2.ListStudiesRequest(patient_id=patient_id, issuer_of_patient_id=issuer, complete=True)
        with self._errors(self._study_address):
            while True:
                page = self._studies.ListStudies(request)
                found += page.studies
                if not page.next_page_token:
                    return found
                request.page_token = page.next_page_token

    def read_instances(self, study: str, folder: Path) -> tuple[list[study_pb2.StudyPatient], list[Path]]:
        """Write the DICOM files of a study, identities and all, into a folder; gives whose it is, and the files.

        Raises:
            StudyNotFound, StudyNotComplete: There is none, or not yet.
        """
        patients: list[study_pb2.StudyPatient] = []
        files: list[Path] = []
        with self._errors(self._study_address), ExitStack() as opened:
            for message in self._studies.ReadInstances(study_pb2.ReadInstancesRequest(study=study)):
                if message.HasField("patient"):
                    patients.append(message.patient)
                elif message.HasField("header"):
                    opened.close()
                    files.append(folder / f"{message.header.sha256}.dcm")
                    file = opened.enter_context(files[-1].open("xb"))
                else:
                    file.write(message.chunk.data)
        return patients, files

    def erase_patient(self, request: administration_pb2.ErasePatientRequest) -> administration_pb2.Erasure:
        """Remove everything of a patient, or say what that would be.

        Raises:
            ErasureChanged: What would go is not what the dry run showed.
        """
        with self._errors(self._address):
            erasure: administration_pb2.Erasure = self._administration.ErasePatient(request).erasure
        return erasure

    def delete_assessment(self, request: administration_pb2.DeleteAssessmentRequest) -> administration_pb2.Erasure:
        """Remove one assessment with everything derived for it, or say what that would be.

        Raises:
            AssessmentNotFound: There is none of this name.
            ErasureChanged: What would go is not what the dry run showed.
        """
        with self._errors(self._address):
            erasure: administration_pb2.Erasure = self._administration.DeleteAssessment(request).erasure
        return erasure

    def merge_patients(
        self, request: administration_pb2.MergePatientsRequest
    ) -> administration_pb2.MergePatientsResponse:
        """Make two Patient IDs one; gives the studies and assessments that follow."""
        with self._errors(self._address):
            answer: administration_pb2.MergePatientsResponse = self._administration.MergePatients(request)
        return answer

    def move_study(self, request: administration_pb2.MoveStudyRequest) -> administration_pb2.MoveStudyResponse:
        """Give a study to the patient whose it is; gives the assessments whose reports have to be withdrawn.

        Raises:
            StudyNotFound, StudyNotComplete: There is no such study, or it still accepts instances.
        """
        with self._errors(self._address):
            answer: administration_pb2.MoveStudyResponse = self._administration.MoveStudy(request)
        return answer

    def apply_retention(self, *, dry_run: bool) -> dict[str, administration_pb2.PatientDataCounts]:
        """Remove what is older than the settings say, or count it; by kind."""
        with self._errors(self._address):
            request = administration_pb2.ApplyRetentionRequest(dry_run=dry_run)
            return dict(self._administration.ApplyRetention(request).counts)

    def model_control(self, name: str) -> model_control_pb2.GetModelControlResponse:
        """State of every version of a model, and whether its release is stopped."""
        with self._errors(self._model_address):
            request = model_control_pb2.GetModelControlRequest(model=f"models/{name}")
            found: model_control_pb2.GetModelControlResponse = self._model_control.GetModelControl(request)
        return found

    def model_changes(self, name: str = "") -> Iterator[model_control_pb2.ModelChange]:
        """What was changed of a model, or of all, newest first."""
        request = model_control_pb2.ListModelChangesRequest(model=f"models/{name}" if name else "", page_size=200)
        while True:
            with self._errors(self._model_address):
                page = self._model_control.ListModelChanges(request)
            yield from page.changes
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def propose_state(self, name: str, sha256: str, state: str, reason: str) -> model_control_pb2.ModelChange:
        """Propose a state (``active``) for a version; of an empty SHA-256 the installed one."""
        with self._errors(self._model_address):
            request = model_control_pb2.ProposeStateRequest(
                model=f"models/{name}", sha256=sha256, state=f"MODEL_STATE_{state.upper()}", reason=reason
            )
            change: model_control_pb2.ModelChange = self._model_control.ProposeState(request).change
        return change

    def approve_state(self, number: int, reason: str) -> model_control_pb2.ModelChange:
        """Approve what somebody else proposed."""
        with self._errors(self._model_address):
            request = model_control_pb2.ApproveStateRequest(number=number, reason=reason)
            change: model_control_pb2.ModelChange = self._model_control.ApproveState(request).change
        return change

    def switch_release(self, name: str, reason: str, *, stop: bool) -> model_control_pb2.ModelChange:
        """Stop the release of results of a model, or of all (``-``), or end the stop."""
        with self._errors(self._model_address):
            change: model_control_pb2.ModelChange
            if stop:
                stopping = model_control_pb2.StopReleaseRequest(model=f"models/{name}", reason=reason)
                change = self._model_control.StopRelease(stopping).change
            else:
                resuming = model_control_pb2.ResumeReleaseRequest(model=f"models/{name}", reason=reason)
                change = self._model_control.ResumeRelease(resuming).change
        return change

    def roll_back(self, name: str, reason: str, *, emergency: bool = False) -> model_control_pb2.ModelChange:
        """Propose the version that was active before, or take it at once in an emergency."""
        with self._errors(self._model_address):
            request = model_control_pb2.RollbackModelRequest(model=f"models/{name}", reason=reason, emergency=emergency)
            change: model_control_pb2.ModelChange = self._model_control.RollbackModel(request).change
        return change

    def recall(
        self, name: str, sha256: str, start: datetime.datetime, before: datetime.datetime
    ) -> Iterator[model_control_pb2.RecallModelResponse]:
        """Who got a model between two moments; of an empty SHA-256 any version. Patient data."""
        request = model_control_pb2.RecallModelRequest(model=f"models/{name}", sha256=sha256)
        request.create_time_from.FromDatetime(start)
        request.create_time_before.FromDatetime(before)
        with self._errors(self._model_address):
            yield from self._model_control.RecallModel(request)

    def replay(self, assessment: str, progress: Progress) -> replay_pb2.ReplayOutcome:
        """Compute the result of ``assessments/{assessment}`` again from its record, and compare.

        Raises:
            AssessmentNotFound, AssessmentNotFinished, AssessmentNotReplayable: There is nothing to replay.
            ModelChanged: Its version of the model is not kept any more.
            Busy: Another replay is under way.
        """
        outcome = replay_pb2.ReplayOutcome()
        with self._errors(self._address):
            for event in self._replays.ReplayAssessment(replay_pb2.ReplayAssessmentRequest(name=assessment)):
                if event.HasField("outcome"):
                    outcome = event.outcome
                else:
                    progress(event.progress.message, event.progress.fraction_done)
        return outcome
