"""The stream: one socket a device, over which messages are sent, delivered in order and acknowledged."""
