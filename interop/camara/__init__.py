"""The CAMARA adapter: OTP Validation (one-time-password-sms 1.1.1, release r3.2) over verifications.

Specification and test definitions: https://github.com/camaraproject/OTPValidation, and CAMARA's Commonalities
0.6.
"""
