"""May this text be sent? One ordered list of rules, what they are told, and the record of what they said."""
