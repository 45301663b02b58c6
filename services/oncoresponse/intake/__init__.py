"""Studies from a DICOMweb server or a directory."""
