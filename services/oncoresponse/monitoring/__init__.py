"""What the models said and what then happened: kept without identifiers, compared with the training data."""
