"""The ``oncoresponse`` command."""
