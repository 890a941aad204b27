"""All settings of the service: the sections of its parts, composed."""

from interop.camara.settings import CamaraSettings
from interop.matrix.settings import MatrixSettings
from messaging.settings import MessagingSettings
from tokens.settings import TokenSettings


class Settings(CamaraSettings, MatrixSettings, MessagingSettings, TokenSettings):
    """The frozen settings; `Settings.load()` reads the environment and reports every fault at once.

    A section extends the sections that it needs: verification those of sms, Matrix those of
    verification and discovery.
    """
