"""Measurements that a person runs; never part of a test."""
