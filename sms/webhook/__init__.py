"""The operator's own sender."""
