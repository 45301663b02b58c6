"""Thin gRPC services around the stages, and the process that runs them."""
