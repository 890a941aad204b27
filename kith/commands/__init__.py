"""Own the commands of `kith`, one file a subject; `kith.cli` puts them together."""
