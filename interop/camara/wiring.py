"""The CAMARA adapter: one-time passwords for services, over verifications."""

from functools import partial

from core.runtime import Part, Runtime
from interop.camara.routes import camara_api
from interop.camara.service import CamaraService
from interop.camara.settings import CamaraSettings
from tokens.authenticate import authenticate_service
from tokens.service_tokens import SEND_AND_VALIDATE
from verification.limits import sends_by_service
from verification.wiring import Verifications


class Camara(Part):
    """The CAMARA adapter."""

    def __init__(
        self, runtime: Runtime, settings: CamaraSettings, verification: Verifications
    ) -> None:
        service = CamaraService(
            verification.verifications,
            verification.checks,
            settings,
            sends_by_service(settings.camara_sends_per_day),
        )
        self.blueprints = (camara_api(service, partial(authenticate_service, SEND_AND_VALIDATE)),)
