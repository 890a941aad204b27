"""The stream: messages, acknowledgements and signals over one WebSocket a device."""
