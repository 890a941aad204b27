"""Twilio's voices by the language of a call.

The account's default is not used: some languages have none, and not every engine keeps the pauses between
digits.
"""

from typing import NamedTuple


class Voice(NamedTuple):
    """A language and a voice, as `<Say>` names them."""

    language: str
    voice: str


def _google(language: str, letter: str = "A") -> Voice:
    return Voice(language, f"Google.{language}-Standard-{letter}")


#: By BCP 47. The Serbian voice reads Croatian: it knows Latin script, and the digits are the same words.
#: Amazon's voice is used where Google has none.
VOICES = {
    "ar": _google("ar-XA"),
    "bg": _google("bg-BG"),
    "bn": _google("bn-IN"),
    "ca": _google("ca-ES"),
    "cs": _google("cs-CZ"),
    "da": _google("da-DK"),
    "de": _google("de-DE"),
    "de-AT": Voice("de-AT", "Polly.Hannah-Neural"),
    "el": _google("el-GR"),
    "en": _google("en-US", "C"),
    "en-AU": _google("en-AU"),
    "en-GB": _google("en-GB"),
    "en-IN": _google("en-IN"),
    "es": _google("es-ES"),
    "es-419": _google("es-US"),
    "es-MX": Voice("es-MX", "Polly.Mia"),
    "es-US": _google("es-US"),
    "fi": _google("fi-FI"),
    "fil": _google("fil-PH"),
    "fr": _google("fr-FR"),
    "fr-CA": _google("fr-CA"),
    "he": _google("he-IL"),
    "hi": _google("hi-IN"),
    "hr": _google("sr-RS"),
    "hu": _google("hu-HU"),
    "id": _google("id-ID"),
    "it": _google("it-IT"),
    "ja": _google("ja-JP"),
    "ko": _google("ko-KR"),
    "mr": _google("mr-IN"),
    "ms": _google("ms-MY"),
    "nb": _google("nb-NO"),
    "nl": _google("nl-NL"),
    "nl-BE": _google("nl-BE"),
    "pl": _google("pl-PL"),
    "pt": _google("pt-BR"),
    "pt-PT": _google("pt-PT"),
    "ro": _google("ro-RO"),
    "ru": _google("ru-RU"),
    "sk": _google("sk-SK"),
    "sr": _google("sr-RS"),
    "sv": _google("sv-SE"),
    "ta": _google("ta-IN"),
    "te": _google("te-IN"),
    "th": _google("th-TH"),
    "tr": _google("tr-TR"),
    "uk": _google("uk-UA"),
    "vi": _google("vi-VN"),
    "zh": _google("cmn-CN"),
    "zh-Hant": _google("cmn-TW"),
    "zh-Hant-HK": _google("yue-HK"),
    "zh-Hant-MO": _google("yue-HK"),
}


def voice_of(language: str) -> Voice | None:
    """Return the voice of a BCP 47 tag, shortened from its end until there is one (RFC 4647, 3.4)."""
    while language:
        if language in VOICES:
            return VOICES[language]
        language = language.rpartition("-")[0]
    return None
