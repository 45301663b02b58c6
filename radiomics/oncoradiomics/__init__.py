"""Image and mask in, radiomic features and lesion measures out. Usable alone: no gRPC, no torch.

Flow: :mod:`~oncoradiomics.settings` -> :mod:`~oncoradiomics.extraction` and :mod:`~oncoradiomics.lesion_measures` ->
:mod:`~oncoradiomics.features`. Servers go through :mod:`~oncoradiomics.extraction_processes`.

The names are imported from their modules, so that reading a feature document does not load pyradiomics.
"""
