"""The Matrix door: the Identity Service API v2 for the medium `msisdn`, over what all doors share.

The specification is https://spec.matrix.org/v1.11/identity-service-api/; of what it has for email, for
invitations and for signing on a client's behalf there is nothing here.
"""
