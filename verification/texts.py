"""What a code is sent in: texts of one SMS segment, and what a call says, in ten languages.

Owns the wording and how it is fitted. Refuses to let a text grow into a second segment, which would
cost twice and can arrive in halves.
"""

import re
from typing import NamedTuple

#: GSM 03.38 (3GPP TS 23.038, 6.2.1); what is in its extension takes an escape and counts twice.
GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")
FALLBACK = "en"

#: Languages that clients write under a more precise name than the one below.
SAME_LANGUAGE = {"cmn": "zh"}
#: Besides each language's own voice, those of other regions that listeners would miss.
REGIONAL_VOICES = frozenset(
    {"de-AT", "en-AU", "en-CA", "en-GB", "en-IN", "es-MX", "es-US", "fr-CA", "pt-PT"}
)


class Wording(NamedTuple):
    """One language: SMS texts, the best first, what a call says, and the voice that says it.

    Semicolons follow the digits of a call: before a full stop, German, Polish and Turkish voices
    read the last one as an ordinal.
    """

    sms: tuple[str, ...]
    call: str
    voice: str


WORDINGS = {
    "en": Wording(
        (
            "{code} is your {app} verification code. Do not share it with anyone.",
            "{code} is your {app} code.",
        ),
        "Hello! Your {app} verification code is: {digits}; once more, your code is: {digits};"
        " do not share it with anyone.",
        "en-US",
    ),
    "de": Wording(
        (
            "{code} ist der Bestätigungscode für {app}. Bitte niemandem mitteilen.",
            "{code} ist der Code für {app}.",
        ),
        "Hallo! Der Bestätigungscode für {app} lautet: {digits}; noch einmal, der Code lautet:"
        " {digits}; bitte niemandem mitteilen.",
        "de-DE",
    ),
    # "Código" is not in the GSM alphabet and "clave" is, which leaves room for a last line.
    "es": Wording(
        (
            "{code} es tu código de {app}. No lo compartas con nadie.",
            "{code} es tu código de {app}. No lo compartas.",
            "{code} es tu clave de un solo uso para {app}. No la compartas con nadie.",
            "{code} es tu clave de {app}.",
        ),
        "¡Hola! Tu código de verificación de {app} es: {digits}; repito, tu código es: {digits};"
        " no lo compartas con nadie.",
        "es-ES",
    ),
    "fr": Wording(
        (
            "{code} est votre code de vérification {app}. Ne le communiquez à personne.",
            "{code} est votre code {app}.",
        ),
        "Bonjour ! Votre code de vérification {app} est : {digits} ; je répète, votre code est :"
        " {digits} ; ne le communiquez à personne.",
        "fr-FR",
    ),
    "pt": Wording(
        (
            "{code} é o seu código de verificação {app}. Não o revele a ninguém.",
            "{code} é o seu código {app}. Não o revele a ninguém.",
            "{code} é o seu código {app}.",
        ),
        "Olá! O seu código de verificação {app} é: {digits}; mais uma vez, o seu código é:"
        " {digits}; não o revele a ninguém.",
        "pt-BR",
    ),
    "pl": Wording(
        (
            "{code} to kod weryfikacyjny {app}. Nikomu go nie podawaj.",
            "{code} to kod {app}.",
        ),
        "Dzień dobry! Kod weryfikacyjny {app} to: {digits}; powtarzam, kod to: {digits};"
        " nikomu go nie podawaj.",
        "pl-PL",
    ),
    "tr": Wording(
        (
            "{code} {app} kodunuz. Bu kodu kimseye vermeyin.",
            "{code} {app} kodunuz.",
        ),
        "Merhaba! {app} doğrulama kodunuz: {digits}; tekrar ediyorum, kodunuz: {digits};"
        " bu kodu kimseye vermeyin.",
        "tr-TR",
    ),
    "ar": Wording(
        (
            "{code} هو رمز التحقق الخاص بك في {app}. لا تشاركه مع أحد.",
            "{code} هو رمزك في {app}. لا تشاركه مع أحد.",
            "{code} هو رمزك في {app}.",
        ),
        "مرحبًا! رمز التحقق الخاص بك في {app} هو: {digits}؛ مرة أخرى، رمزك هو: {digits}؛"
        " لا تشاركه مع أحد.",
        "ar-XA",
    ),
    "hi": Wording(
        (
            "{code} आपका {app} सत्यापन कोड है। इसे किसी को न बताएं।",
            "{code} आपका {app} कोड है। इसे किसी को न बताएं।",
            "{code} आपका {app} कोड है।",
        ),
        "नमस्ते! आपका {app} सत्यापन कोड है: {digits}; एक बार फिर, आपका कोड है: {digits};"
        " इसे किसी को न बताएं।",
        "hi-IN",
    ),
    "zh": Wording(
        (
            "{code} 是您的 {app} 验证码，请勿泄露给他人。",
            "{code} 是您的 {app} 验证码。",
        ),
        "您好！您的 {app} 验证码是：{digits}；再说一遍，验证码是：{digits}；请勿泄露给他人。",
        "zh-CN",
    ),
}
#: The last resort in every language: plain ASCII, which fits beside the longest last line.
BARE = "{code} - {app}"


def segments(text: str) -> int:
    """Count the SMS segments that a text takes: 160 septets or 70 UTF-16 units, if it is one.

    In more than one, a header leaves 153 or 67 to each, and no character is cut in two.
    """
    if GSM_BASIC.issuperset(text) or (GSM_BASIC | GSM_EXTENSION).issuperset(text):
        return _count([1 + (character in GSM_EXTENSION) for character in text], 160, 153)
    return _count([1 + (character > "\uffff") for character in text], 70, 67)


def _count(sizes: list[int], single: int, several: int) -> int:
    if sum(sizes) <= single:
        return 1
    count, used = 1, 0
    for size in sizes:
        used += size
        if used > several:
            count, used = count + 1, size
    return count


def sms_text(
    locale: str,
    default_locale: str,
    app_name: str,
    code: str,
    *,
    web_origin: str | None = None,
    app_hash: str | None = None,
) -> tuple[str, str]:
    """Write the text of a code; give it and its language.

    `locale` is any BCP 47 tag. The last line is `@web_origin #code` (WICG, Origin-bound one-time
    codes delivered via SMS) or the Android SMS Retriever's `app_hash`; both cannot be last.
    """
    if web_origin and app_hash:
        raise ValueError("a text ends in an origin or in an app hash, not in both")
    language = _language(locale, default_locale)
    last_line = f"\n@{web_origin} #{code}" if web_origin else f"\n{app_hash}" if app_hash else ""
    for wording in (*WORDINGS[language].sms, BARE):
        body = wording.format(code=code, app=app_name) + last_line
        if segments(body) == 1:
            return body, language
    raise ValueError("the app name or the last line is too long for one segment")


def voice_text(locale: str, default_locale: str, app_name: str, code: str) -> tuple[str, str]:
    """Write what a call says, each digit alone, all twice; give it and the voice's BCP 47 tag."""
    language = _language(locale, default_locale)
    wording = WORDINGS[language]
    region = re.search(r"[-_]([A-Za-z]{2})(?=[-_]|$)", locale)
    regional = f"{language}-{region[1].upper()}" if region else ""
    voice = regional if regional in REGIONAL_VOICES else wording.voice
    return wording.call.format(app=app_name, digits=", ".join(code)), voice


def _language(locale: str, default_locale: str) -> str:
    """Find the language of a tag by its first part, of the default's, or the one always there."""
    for tag in (locale, default_locale):
        primary = re.split("[-_]", tag, maxsplit=1)[0].lower()
        primary = SAME_LANGUAGE.get(primary, primary)
        if primary in WORDINGS:
            return primary
    return FALLBACK
