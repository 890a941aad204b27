"""Own the typed calls of the client, one file a part of the API; `kith.client.Kith` joins them."""
