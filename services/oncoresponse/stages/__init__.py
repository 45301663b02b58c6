"""Contracts of the stages inside an installation."""
