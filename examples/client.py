"""Send a study to OncoResponse and save the FHIR report. Uses the generated stubs and nothing else of the project.

Run: python examples/client.py STUDY_DIRECTORY [HOST:PORT]
A server that asks who calls gets the token in the environment variable ONCORESPONSE_TOKEN."""

import hashlib
import os
import pathlib
import sys
import uuid
import zlib

import grpc
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc


def upload(study: str, files: list[pathlib.Path]):
    for file in files:
        data = file.read_bytes()
        header = study_pb2.InstanceHeader(study=study, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        yield study_pb2.UploadInstancesRequest(header=header)
        for start in range(0, len(data), 262144):
            part = data[start : start + 262144]
            yield study_pb2.UploadInstancesRequest(chunk={"data": part, "crc32": zlib.crc32(part)})


channel = grpc.insecure_channel(sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051")
token = os.environ.get("ONCORESPONSE_TOKEN")
who = {"metadata": [("authorization", f"Bearer {token}")] if token else []}
studies = study_pb2_grpc.StudyServiceStub(channel)
assessments = assessment_pb2_grpc.AssessmentServiceStub(channel)
files = sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm"))
study = studies.CreateStudy(study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4())), **who).study.name
studies.UploadInstances(upload(study, files), **who)
studies.CompleteStudy(study_pb2.CompleteStudyRequest(study=study, instance_count=len(files)), **who)
order = assessment_pb2.CreateAssessmentRequest(request_id=str(uuid.uuid4()), study=study, model="models/sts-petct")
try:
    name = assessments.CreateAssessment(order, **who).assessment.name
except grpc.RpcError as refusal:  # what the headers show is refused at once
    sys.exit(refusal.details())
for update in assessments.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name), **who):
    print(f"{update.assessment.fraction_done:4.0%}  {update.assessment.message}")
if update.assessment.state != assessment_pb2.ASSESSMENT_STATE_SUCCEEDED:
    sys.exit(update.assessment.error.message or update.assessment.message)
print(update.assessment.result.summary)
report = assessments.GetArtifact(assessment_pb2.GetArtifactRequest(assessment=name, file_name="report.json"), **who)
pathlib.Path("report.json").write_bytes(b"".join(part.data for part in report))
