"""What leaves an installation for training: DICOM files without what names a patient."""
