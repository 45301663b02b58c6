"""Limits of a gRPC server towards connections: sizes, streams, age. They hold before any code of a service runs."""

from __future__ import annotations

LARGEST_MESSAGE_BYTES = 4 * 1024**2
LARGEST_METADATA_BYTES = 16 * 1024
"""All metadata of a call together. Tokens of issuers with many claims have up to 12 KiB."""
MOST_STREAMS = 1000
"""Calls at the same time on one connection."""
CONNECTION_AGE_SECONDS = 1800
CONNECTION_GRACE_SECONDS = 3600
"""A connection takes no new calls after its age, and ends after the grace, its calls with it: a certificate or a token
that ended is noticed at the latest then. Clients connect again by themselves."""


def server_options(
    age_seconds: float = CONNECTION_AGE_SECONDS, grace_seconds: float = CONNECTION_GRACE_SECONDS
) -> list[tuple[str, int]]:
    """Channel arguments of every server (https://grpc.github.io/grpc/core/group__grpc__arg__keys.html)."""
    return [
        ("grpc.so_reuseport", 0),
        # A connection that does not answer to a ping is dropped.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
        # Beyond the first size gRPC refuses at random, the more the larger; with both the same it is one limit.
        ("grpc.max_metadata_size", LARGEST_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", LARGEST_METADATA_BYTES),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        ("grpc.max_connection_age_ms", round(age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(grace_seconds * 1000)),
    ]
