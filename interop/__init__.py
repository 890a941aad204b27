"""Protocol adapters: the same services behind other published protocols, one folder each."""
