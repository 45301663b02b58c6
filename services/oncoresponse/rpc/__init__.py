"""Calls between processes: status, interceptors, peers, client, settings, log."""
