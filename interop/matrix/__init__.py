"""The Matrix adapter: the Identity Service API v2 for the medium `msisdn`.

Specification: https://spec.matrix.org/v1.11/identity-service-api/, without email, stored invitations and
signing on a client's behalf.
"""
