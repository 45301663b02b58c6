"""Rules of what is done with studies that come in."""

from __future__ import annotations

import pytest
import yaml
from oncoresponse.edges.routing import Rules, SeriesFacts, StudyFacts, choose, read_rules, require_destinations
from oncoresponse.errors import ConfigurationError

CT = SeriesFacts("CT", "THIGH", "CT 3 mm", "PET/CT Thigh", ("PETCT",))
PET = SeriesFacts("PT", "", "PET WB", "PET/CT Thigh", ("PETCT",))


def rule(name: str, **when: object) -> dict[str, object]:
    return {"name": name, "when": when, "model": "sts-petct"}


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ({}, ""),
        ({"modalities": ["CT", "PT"]}, ""),
        ({"modalities": ["CT", "MR"]}, "no MR in the study"),
        ({"calling_ae_titles": ["PETCT1", "PETCT2"]}, ""),
        ({"calling_ae_titles": ["MR1"]}, "another sender"),
        ({"body_part": ["thigh"]}, ""),
        ({"body_part": ["HEAD*"]}, "another Body Part Examined"),
        ({"study_description": ["*thigh*"]}, ""),
        ({"series_description": ["t2*", "pet ?b"]}, ""),
        ({"procedure_codes": ["PETCT"]}, ""),
        ({"procedure_codes": ["MRBREAST"]}, "another procedure code"),
        ({"modalities": ["CT"], "body_part": ["HEAD"]}, "another Body Part Examined"),
    ],
)
def test_each_condition(when, why):
    found = choose(Rules.model_validate({"rules": [rule("one", **when)]}), StudyFacts((CT, PET), "PETCT1"))
    assert (found.rule is None) == bool(why)
    assert [reason for _, reason in found.passed_over] == ([why] if why else [])


def test_the_first_that_fits_holds_and_what_a_study_does_not_say_fits_no_condition():
    rules = Rules.model_validate({"rules": [rule("head", body_part=["HEAD"]), rule("any"), rule("never")]})
    assert choose(rules, StudyFacts((CT,))).rule.name == "any"
    only = Rules.model_validate({"rules": [rule("head", body_part=["*D"])]})
    assert choose(only, StudyFacts((PET,))).passed_over == (("head", "no Body Part Examined"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rules: [", "cannot be read"),
        ("rules: []", "faults"),
        (yaml.safe_dump({"rules": [rule("one") | {"modle": "x"}]}), "modle"),
        (yaml.safe_dump({"rules": [rule("one", bodypart=["x"])]}), "bodypart"),
        (yaml.safe_dump({"rules": [rule("one"), rule("one")]}), "same name"),
    ],
)
def test_a_file_with_faults_is_refused_with_their_places(tmp_path, content, message):
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_rules(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_rules(tmp_path / "absent")


def test_a_destination_that_the_settings_do_not_have_is_refused():
    rules = Rules.model_validate({"rules": [rule("one") | {"deliver_to": ["archive", "ehr", "archive"]}]})
    assert rules.rules[0].deliver_to == ("archive", "ehr")
    require_destinations(rules, {"archive", "ehr", "other"})
    with pytest.raises(ConfigurationError, match="Rule one delivers to ehr, "):
        require_destinations(rules, {"archive"})
