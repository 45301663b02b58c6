"""What goes back to the archive beside the segmentation: SR, encapsulated PDF, key image, 3D models, rejection note.

Every object belongs to the study that was read, in a series of its own. Plain data in, DICOM Part 10 files out; the
same arguments give the same bytes.
"""
