"""Training and validation of segmentation networks."""
