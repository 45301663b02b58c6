"""What makes, checks and watches a release. Not part of the package that is installed."""
