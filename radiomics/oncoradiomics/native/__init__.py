"""pyradiomics' features computed many times faster, with the same values; see ``docs/radiomics.md``.

One file a family of the Image Biomarker Standardisation Initiative's reference manual, doi:10.48550/arXiv.1612.07003.
"""

VERSION = "1.0.0"
"""Changes whenever a value changes."""
