"""Who of my contacts is here? The directory of hashed numbers, and lookups in it."""
