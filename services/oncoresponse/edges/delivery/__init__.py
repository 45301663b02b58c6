"""Sends what the service says is to be sent, and tells it what came of that."""
