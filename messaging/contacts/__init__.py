"""Contacts: who is in touch with whom, who is blocked, and how much one may write."""
