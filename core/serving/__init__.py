"""How a worker serves connections: who may hold one, for how long, and how all of them end."""
