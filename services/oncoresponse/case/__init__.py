"""Documents that travel between the stages, and the plain data in them; no stage, no proto."""
