"""What a model folder declares, and how it is read."""
