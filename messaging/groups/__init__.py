"""Groups: their members, versions and admins."""
