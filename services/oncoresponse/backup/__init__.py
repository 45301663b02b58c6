"""Backup of an installation while it runs, and its restore: one encrypted file."""
