"""Training and validation of response models."""
