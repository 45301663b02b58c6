"""Two names of configparser that Python 3.12 removed and pyradiomics 3.0.1 calls while it is built.

Python reads a module of this name at its start. Only builds have this folder in their PYTHONPATH.
"""

# mypy: ignore-errors
import configparser

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser
    configparser.RawConfigParser.readfp = configparser.RawConfigParser.read_file
