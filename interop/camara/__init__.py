"""The CAMARA door: OTP Validation (one-time-password-sms 1.1.1, release r3.2) over our verifications.

The specification is https://github.com/camaraproject/OTPValidation, with its test definitions; what it
leaves to CAMARA's Commonalities 0.6 is taken from there.
"""
