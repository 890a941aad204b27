"""Twilio: texts and calls."""
