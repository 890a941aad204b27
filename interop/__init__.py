"""The same services behind other published protocols, one file or folder a protocol."""
