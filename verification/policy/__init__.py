"""The SMS policy: an ordered list of rules that allow, challenge or deny texts and calls."""
