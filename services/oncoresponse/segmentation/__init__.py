"""PET and CT volumes in, tumor mask, voxelwise probability and a summary of both out."""
