"""Orders that come in: by HL7 v2, and from FHIR servers."""
