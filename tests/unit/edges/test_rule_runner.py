"""What a rule asks of the front door."""

from __future__ import annotations

import pytest
import yaml
from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.edges.routing import Rule
from oncoresponse.edges.rule_runner import RuleRunner, assessment_request
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import assessment_pb2


def test_a_rule_says_everything_of_the_assessment():
    rule = Rule.model_validate(
        {
            "name": "one",
            "when": {},
            "model": "sts-petct",
            "planned_treatment": "As decided",
            "use_contour": True,
            "priority": "stat",
            "deliver_to": ["archive"],
        }
    )
    request = assessment_request("studies/a", rule)
    assert request == assessment_request("studies/a", rule)
    assert request.request_id != assessment_request("studies/b", rule).request_id
    assert request.HasField("contour")
    assert (request.study, request.model, request.planned_treatment) == ("studies/a", "models/sts-petct", "As decided")
    assert request.priority == assessment_pb2.ASSESSMENT_PRIORITY_STAT
    assert request.deliver_to == ["archive"]


def test_rules_that_deliver_to_nobody_keep_an_edge_from_starting(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        yaml.safe_dump({"rules": [{"name": "one", "when": {}, "model": "sts-petct", "deliver_to": ["archive"]}]})
    )
    door = FrontDoor("127.0.0.1:1", "token")
    with pytest.raises(ConfigurationError, match="archive"):
        RuleRunner(ServerSettings(rules=path), door)
    destination = {"kind": "c-store", "address": "127.0.0.1:104", "ae_title": "ARCHIVE"}
    RuleRunner(ServerSettings(rules=path, destinations={"archive": destination}), door)
