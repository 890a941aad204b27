"""SMPP 3.4: texts over a bind to an SMSC."""
