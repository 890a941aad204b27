"""The keys that devices publish so that others can start sessions with them."""
