"""The one HTTP server of an installation: DICOMweb, health, and what later is offered over HTTP."""
