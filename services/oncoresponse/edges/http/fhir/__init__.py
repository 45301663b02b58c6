"""FHIR R4 over HTTP, read-only: requests become calls of ResourceService with the token of their sender."""
