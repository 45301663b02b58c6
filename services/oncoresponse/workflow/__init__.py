"""The chain as a durable workflow: study, volumes, mask, features, prediction, report."""
