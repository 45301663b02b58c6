"""Archives and scanners over DICOM: studies come in by C-STORE, and rules say what is done with them."""
