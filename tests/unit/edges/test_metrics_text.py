"""What Prometheus reads: one family each, counts that add up, nothing of a patient."""

from oncoresponse.edges.http.metrics_route import metrics_text
from oncoresponse.v1 import delivery_pb2, model_pb2
from prometheus_client.parser import text_string_to_metric_families

REPORT = """# HELP oncoresponse_monitoring_predictions Recorded predictions.
# TYPE oncoresponse_monitoring_predictions gauge
oncoresponse_monitoring_predictions{{model="{0}",version="1.0.0"}} {1}
"""


def delivery(destination: str, state: int, seconds: int) -> delivery_pb2.Delivery:
    made = delivery_pb2.Delivery(destination=destination, state=state, assessment="assessments/secret")
    made.create_time.FromSeconds(seconds)
    return made


def test_families_stand_once_and_deliveries_are_counted():
    models = [
        model_pb2.Model(name=f"models/{name}", version="1.0.0", state=state)
        for name, state in (
            ("a", model_pb2.MODEL_STATE_ACTIVE),
            ("b", model_pb2.MODEL_STATE_DRAFT),
            ("c", model_pb2.MODEL_STATE_RETIRED),
        )
    ]
    deliveries = [
        delivery("ehr", delivery_pb2.DELIVERY_STATE_WAITING, 900),
        delivery("ehr", delivery_pb2.DELIVERY_STATE_WAITING, 400),
        delivery("pacs", delivery_pb2.DELIVERY_STATE_DEAD, 990),
    ]
    text = metrics_text(models, [REPORT.format("a", 3), REPORT.format("b", 4), None], deliveries, 1000.0)
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    found = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
    assert found == {
        ("oncoresponse_model_state", "1.0.0", "a", "active"): 1,
        ("oncoresponse_model_state", "1.0.0", "b", "draft"): 1,
        ("oncoresponse_model_state", "1.0.0", "c", "retired"): 1,
        ("oncoresponse_monitoring_readable", "a"): 1,
        ("oncoresponse_monitoring_readable", "b"): 1,
        ("oncoresponse_monitoring_readable", "c"): 0,
        ("oncoresponse_monitoring_predictions", "1.0.0", "a"): 3,
        ("oncoresponse_monitoring_predictions", "1.0.0", "b"): 4,
        ("oncoresponse_deliveries", "ehr", "waiting"): 2,
        ("oncoresponse_deliveries", "dead", "pacs"): 1,
        ("oncoresponse_delivery_oldest_age_seconds", "ehr", "waiting"): 600,
        ("oncoresponse_delivery_oldest_age_seconds", "dead", "pacs"): 10,
    }
    assert "secret" not in text
