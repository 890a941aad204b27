"""The gunicorn worker: connections, their limits and time-outs, and the stop."""
