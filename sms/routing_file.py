"""The routing file: prices of providers, pins of countries, and parameters of the router.

`sms/routing.toml` is the default and explains every key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args

from pydantic import AfterValidator, Field, ValidationInfo

from core.phone_numbers import known_region
from core.toml_file import TomlTable, load_toml
from sms.provider import Channel
from sms.settings import ProviderName, SmsSettings

DEFAULT_FILE = Path(__file__).with_name("routing.toml")
MICROS = 1_000_000
#: Prices of every provider, or every country, without prices of its own.
DEFAULT = "default"


def _place(name: str) -> str:
    return name if name == DEFAULT else known_region(name)


def _used(info: ValidationInfo) -> frozenset[str]:
    return cast(frozenset[str], info.context)


def _in_use(names: str | list[str], info: ValidationInfo) -> tuple[str, ...]:
    """Return the pinned providers, one or several; all must be in KITH_SMS_PROVIDER."""
    pinned = (names,) if isinstance(names, str) else tuple(names)
    for name in pinned:
        if name not in _used(info):
            raise ValueError(f"{name} is not in KITH_SMS_PROVIDER")
    if not pinned or len(set(pinned)) < len(pinned):
        raise ValueError("needs at least one provider, and each only once")
    return pinned


def _provider(name: str, info: ValidationInfo) -> str:
    if name not in (DEFAULT, *get_args(ProviderName), *_used(info)):
        raise ValueError(f"there is no provider {name}")
    return name


def _with_default(prices: dict[str, float]) -> dict[str, float]:
    if DEFAULT not in prices:
        raise ValueError("needs a price called default")
    return prices


PricesByCountry = Annotated[
    dict[Annotated[str, AfterValidator(_place)], Annotated[float, Field(ge=0, le=1000)]],
    AfterValidator(_with_default),
]


class Prices(TomlTable):
    """Prices of one provider for a text and for a call, in units of the currency, by country."""

    sms: PricesByCountry | None = None
    voice: PricesByCountry | None = None

    def on(self, channel: Channel) -> dict[str, float] | None:
        """Return the prices of a channel, if there are any."""
        return self.voice if channel == "voice" else self.sms


def _complete(prices: dict[str, Prices]) -> dict[str, Prices]:
    default = prices.get(DEFAULT)
    if default is None or default.sms is None or default.voice is None:
        raise ValueError("needs prices.default with sms and voice")
    return prices


class RoutingParameters(TomlTable):
    """How the router weighs outcomes and prices."""

    #: How much more a provider of twice the price must convert, as a share of its sends.
    margin: float = Field(ge=0, le=1)
    #: After this many more sends of the same provider to a country an outcome counts half.
    half_life_sends: int = Field(ge=10, le=1_000_000)
    #: Age at which a send counts as not verified.
    patience_seconds: int = Field(ge=0, le=3600)


class Routing(TomlTable):
    """A routing file."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    choice: RoutingParameters
    pins: dict[
        Annotated[str, AfterValidator(known_region)],
        Annotated[str | list[str], AfterValidator(_in_use)],
    ] = {}
    prices: Annotated[
        dict[Annotated[str, AfterValidator(_provider)], Prices], AfterValidator(_complete)
    ]

    def price_micros(self, provider: str, country: str, channel: Channel) -> int:
        """Return the price of a send in millionths of the currency."""
        own = self.prices.get(provider, Prices())
        by_country = own.on(channel) or self.prices[DEFAULT].on(channel)
        assert by_country is not None, "the default has prices for every channel"
        return round(by_country.get(country, by_country[DEFAULT]) * MICROS)


def load_routing(settings: SmsSettings, providers: Sequence[str]) -> Routing:
    """Read the routing file of the settings, for the providers in use.

    Raises SettingsError, which lists every fault with its line.
    """
    setting = "KITH_ROUTING_FILE" if settings.routing_file else None
    file = settings.routing_file or DEFAULT_FILE
    return load_toml(file, Routing, frozenset(providers), setting=setting)
