"""Mutated input against the intake and the front door: ``make fuzz N=2000``."""
