"""DICOM intake: files to one :class:`~oncoresponse.case.study_description.StudyDescription` and its volumes.

The way through the modules is the way of the data: ``reading`` (one file), ``series`` (which files belong
together), ``slice_geometry`` (are they one regular volume), ``selection`` (which series the model needs),
``computed_tomography`` and ``positron_emission`` (pixel values to HU and SUV), ``contours`` (RTSTRUCT and
SEG to a mask); ``study`` joins them.
"""
