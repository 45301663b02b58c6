"""Fitting and validating what :mod:`oncoresponse.comparison` uses; nothing that serves imports it."""
