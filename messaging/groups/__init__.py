"""Groups: who is in them, as of which version, and who may change that."""
