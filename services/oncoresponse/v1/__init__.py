"""Stubs generated from ``protos/oncoresponse/v1`` by ``make stubs``; do not edit."""
