"""The CAMARA adapter: one-time passwords for services, over verifications."""

from functools import partial

from core.runtime import Part
from interop.camara.routes import camara_api
from interop.camara.service import CamaraService
from interop.camara.settings import CamaraSettings
from tokens.service_tokens import SEND_AND_VALIDATE
from tokens.wiring import Tokens
from verification.limits import sends_by_service
from verification.wiring import Verifications


class Camara(Part):
    """The CAMARA adapter."""

    def __init__(
        self, settings: CamaraSettings, tokens: Tokens, verification: Verifications
    ) -> None:
        service = CamaraService(
            verification.verifications,
            verification.checks,
            settings,
            sends_by_service(settings.camara_sends_per_day),
        )
        authenticate = partial(tokens.authenticator.service, SEND_AND_VALIDATE)
        self.blueprints = (camara_api(service, authenticate),)
