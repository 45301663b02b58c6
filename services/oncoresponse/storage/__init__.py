"""Where bytes are kept: a content-addressed artifact store, and the studies that are made of its artifacts."""
