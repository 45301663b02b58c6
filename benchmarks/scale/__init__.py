"""What an assessment costs, and how many an hour an installation makes: ``make bench-scale``."""
