"""What every part stands on: settings, secrets, database, limits, problems, numbers and middleware."""
