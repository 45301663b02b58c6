"""OncoResponse: tumor study in as DICOM, therapy-response report out as FHIR, over gRPC. Research use only."""

__version__ = "0.1.0"
