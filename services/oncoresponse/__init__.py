"""OncoResponse: tumor study in as DICOM, therapy-response report out as FHIR, over gRPC. Research use only."""

__version__ = "0.4.0"
"""The one place of the version: package, reports, workflow and command line take it from here."""
