"""Who is this device? Accounts, devices, device tokens and the registration lock."""
