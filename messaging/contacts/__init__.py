"""Contacts: accepted and blocked accounts, and the rules on senders."""
