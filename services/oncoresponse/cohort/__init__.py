"""Many studies at once: joins the stages outside the workflow."""
