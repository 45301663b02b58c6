"""Surfaces of lesions and bone for surgical planning, and distances between them. LPS, mm; plain data in and out."""
