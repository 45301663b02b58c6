"""What the other stages found, as FHIR R4, PDF, PNG and DICOM SEG. Plain data in, bytes out; no torch."""
