"""Wake-ups between workers: hints through Valkey, and the look at the table that is the net under them."""
