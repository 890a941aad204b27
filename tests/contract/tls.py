"""TLS on the loopback, with the one certificate there is: trusted by whoever is told to."""

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("untrusted_certificate.pem")


def server_context() -> ssl.SSLContext:
    """Serve with the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    """Trust the certificate, whose name is nobody's."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    return context
