"""What Prometheus reads: one family each, numbers that add up, processes told apart, nothing of a patient."""

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from oncoresponse.access.authentication import Authentication
from oncoresponse.rpc.access_control import Gate
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.process_metrics import ProcessMetrics
from oncoresponse.rpc.stage_token import StageToken
from oncoresponse.servers.operations_metrics import InstallationCounts, ProcessText, metrics_text
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc
from oncoresponse.v1 import assessment_pb2, lesion_pb2, model_pb2, response_pb2
from oncoresponse.workflow.assessment_run import AssessmentRun
from oncoresponse.workflow.assessment_workflow import count_end
from prometheus_client.parser import text_string_to_metric_families

REPORT = """# HELP oncoresponse_monitoring_predictions Recorded predictions.
# TYPE oncoresponse_monitoring_predictions gauge
oncoresponse_monitoring_predictions{{model="{0}",version="1.0.0"}} {1}
"""
NOTHING = InstallationCounts({"waiting": (0, 0), "running": (0, 0)}, {}, {}, 0, 0)


def samples(text: str) -> dict[tuple[str, ...], float]:
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_models_queue_deliveries_and_physicians():
    models = [
        model_pb2.Model(name=f"models/{name}", version="1.0.0", state=state)
        for name, state in (("a", model_pb2.MODEL_STATE_ACTIVE), ("b", model_pb2.MODEL_STATE_DRAFT))
    ]
    counts = InstallationCounts(
        assessments={"waiting": (3, 400_000), "running": (0, 0)},
        deliveries={("ehr", "waiting"): (2, 900_000), ("ehr", "sent"): (5, 1), ("pacs", "dead"): (1, 990_000)},
        reports={
            ("version", "amended"): 4,
            ("agreement", "agree"): 3,
            ("judgement", "favorable"): 2,
            ("replacement", ""): 1,
        },
        corrections=6,
        now=1_000_000,
    )
    found = samples(metrics_text([], models, {"a": REPORT.format("a", 3), "b": None}, counts))
    for name, labels, value in (
        ("model_state", ("1.0.0", "a", "active"), 1),
        ("model_state", ("1.0.0", "b", "draft"), 1),
        ("monitoring_readable", ("a",), 1),
        ("monitoring_readable", ("b",), 0),
        ("monitoring_predictions", ("1.0.0", "a"), 3),
        ("assessments", ("waiting",), 3),
        ("assessment_oldest_age_seconds", ("waiting",), 600),
        ("assessments", ("running",), 0),
        ("assessment_oldest_age_seconds", ("running",), 0),
        ("deliveries", ("ehr", "sent"), 5),
        ("delivery_oldest_age_seconds", ("ehr", "waiting"), 100),
        ("delivery_oldest_age_seconds", ("dead", "pacs"), 10),
        ("report_versions", ("amended",), 4),
        ("report_agreements", ("agree",), 3),
        ("report_judgements", ("favorable",), 2),
        ("assessments_replaced", (), 1),
        ("contour_corrections", (), 6),
    ):
        assert found[f"oncoresponse_{name}", *labels] == value, name
    # What was sent needs nobody, however old it is.
    assert ("oncoresponse_delivery_oldest_age_seconds", "ehr", "sent") not in found


def test_the_same_family_of_two_processes_stands_once_and_a_silent_one_is_told():
    texts = []
    for calls in (1, 2):
        metrics = ProcessMetrics()
        for _ in range(calls):
            metrics.called("/oncoresponse.stages.v1.StageService/RunStage segmentation", "OK", "", 2.0)
        texts.append(metrics.text())
    processes = [
        ProcessText("front", ("study", "assessment"), texts[0]),
        ProcessText("gpu:50051", ("segmentation",), texts[1]),
        ProcessText("cpu:50051", ("radiomics",), None),
    ]
    found = samples(metrics_text(processes, [], {}, NOTHING))
    up = {key[1:]: value for key, value in found.items() if key[0] == "oncoresponse_up"}
    assert up == {("front", "study,assessment"): 1, ("gpu:50051", "segmentation"): 1, ("cpu:50051", "radiomics"): 0}
    count = "oncoresponse_stage_seconds_count"
    assert found[count, "OK", "front", "segmentation", "study,assessment"] == 1
    assert found[count, "OK", "gpu:50051", "segmentation", "segmentation"] == 2
    assert found["process_resident_memory_bytes", "gpu:50051", "segmentation"] > 1e6


def test_calls_are_counted_by_how_they_ended():
    metrics = ProcessMetrics()
    metrics.called("/oncoresponse.v1.StudyService/GetStudy", "OK", "", 0.01)
    metrics.called("/oncoresponse.v1.StudyService/GetStudy", "NOT_FOUND", "STUDY_NOT_FOUND", 0.01)
    found = samples(metrics.text())
    assert found["oncoresponse_call_seconds_count", "NOT_FOUND", "StudyService/GetStudy"] == 1
    assert found["oncoresponse_call_seconds_count", "OK", "StudyService/GetStudy"] == 1
    assert found["oncoresponse_call_errors_total", "STUDY_NOT_FOUND", "StudyService/GetStudy"] == 1


@pytest.fixture
def run(tmp_path):
    from oncoresponse.storage.artifact_store import ArtifactStore

    case = ArtifactStore(tmp_path.as_uri()).put_bytes(b"{}", "application/json")
    return AssessmentRun(
        assessment_id="a", model="models/m", model_sha256="0" * 64, stages=("report",), case=case, arrived_ms=900_000
    )


def test_ends_of_assessments_are_counted_with_answers_and_what_needs_a_look(run):
    metrics = ProcessMetrics()
    result = assessment_pb2.AssessmentResult(
        prediction=response_pb2.Prediction(answer=response_pb2.PREDICTION_ANSWER_INDETERMINATE),
        lesions=[lesion_pb2.LesionResult(number=1, needs_review=True), lesion_pb2.LesionResult(number=2)],
    )
    plain = MessageToDict(result, preserving_proto_field_name=True)
    count_end(metrics, run, {"result": plain}, 1000.0)
    count_end(metrics, run, {"result": {}, "candidates": []}, 1000.0)
    count_end(metrics, run, {"error": {"reason": "TUMOR_TOO_SMALL"}, "stage": "features"}, 1000.0)
    found = samples(metrics.text())
    ended = "oncoresponse_assessments_ended_total"
    assert {key[1:]: value for key, value in found.items() if key[0] == ended} == {
        ("", "completed"): 1,
        ("", "choice_needed"): 1,
        ("TUMOR_TOO_SMALL", "failed"): 1,
    }
    assert found["oncoresponse_answers_total", "indeterminate", "m"] == 1
    lesions = "oncoresponse_lesions_contoured_total"
    assert (found[lesions, "yes"], found[lesions, "no"]) == (1, 1)
    assert found["oncoresponse_arrival_to_report_seconds_sum",] == 100
    assert found["oncoresponse_arrival_to_report_seconds_count",] == 1


def test_memory_of_child_processes_is_told(monkeypatch):
    import subprocess
    import sys

    metrics = ProcessMetrics()
    child = subprocess.Popen([sys.executable, "-c", "b = bytes(50_000_000); input()"], stdin=subprocess.PIPE)
    try:
        key = ("oncoresponse_children_resident_memory_bytes",)
        while samples(metrics.text())[key] < 5_000_000:
            assert child.poll() is None
    finally:
        child.communicate(b"\n")


async def test_what_a_stranger_calls_a_stage_is_no_label():
    """Also of a call that is refused: it is the caller's own text, and there are as many as the caller likes."""
    metrics = ProcessMetrics()
    gate = Gate(Authentication([StageToken("s" * 40)]))
    server = grpc.aio.server(interceptors=(RulesAndErrors(gate, counted=metrics.called),))
    stage_pb2_grpc.add_StageServiceServicer_to_server(stage_pb2_grpc.StageServiceServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = stage_pb2_grpc.StageServiceStub(channel)
            for stage in ("jane_doe", "segmentation"):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await stub.RunStage(stage_pb2.RunStageRequest(stage=stage))
                assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        await server.stop(0)
        gate.close()
    text = metrics.text()
    assert "jane_doe" not in text
    assert samples(text)["oncoresponse_call_seconds_count", "UNAUTHENTICATED", "stages.v1.StageService/RunStage"] == 2
