"""How a text or a call reaches a phone: one file a provider, and the service that records each send."""
