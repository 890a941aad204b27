"""What Twilio's `<Say>` knows, as its SDK for Node.js lists it (`SayLanguage`, `SayVoice`).

The SDK for Python takes any text for either, so this is what the names that we send are held against.
"""

_LANGUAGES = """
    af-ZA am-ET ar-AE ar-XA arb bg-BG bn-IN ca-ES cmn-CN cmn-TW cs-CZ cy-GB da-DK de-AT de-DE el-GR
    en-AU en-CA en-GB en-GB-WLS en-IE en-IN en-NZ en-US en-ZA es-ES es-MX es-US fi-FI fil-PH fr-CA
    fr-FR fr-BE gu-IN he-IL hi-IN hu-HU id-ID is-IS it-IT ja-JP kn-IN ko-KR lv-LV ml-IN mr-IN ms-MY
    nb-NO nl-BE nl-NL pa-IN pl-PL pt-BR pt-PT ro-RO ru-RU sk-SK sr-RS sv-SE ta-IN te-IN th-TH tr-TR
    uk-UA vi-VN yue-HK zh-CN zh-HK zh-TW
"""
LANGUAGES = frozenset(_LANGUAGES.split())

#: Google's standard voices, by language and letter, and those of Amazon Polly that we send.
_STANDARD = """
    af-ZA A; am-ET AB; ar-XA ABCD; bg-BG AB; bn-IN ABCD; ca-ES AB; cmn-CN ABCD; cmn-TW ABC; cs-CZ
    AB; da-DK ACDEFG; de-DE ABCDEFGH; el-GR AB; en-AU ABCD; en-GB ABCDFNO; en-IN ABCDEF; en-US
    ABCDEFGHIJ; es-ES ABCDEFGH; es-US ABC; eu-ES AB; fi-FI AB; fil-PH ABCD; fr-CA ABCD; fr-FR
    ABCDEFG; gl-ES AB; gu-IN ABCD; he-IL ABCD; hi-IN ABCDEF; hu-HU AB; id-ID ABCD; is-IS AB; it-IT
    ABCDEF; ja-JP ABCD; kn-IN ABCD; ko-KR ABCD; lt-LT AB; lv-LV AB; ml-IN ABCD; mr-IN ABC; ms-MY
    ABCD; nb-NO ABCDEFG; nl-BE ABCD; nl-NL ABCDEFG; pa-IN ABCD; pl-PL ABCDEFG; pt-BR ABCDE; pt-PT
    ABCDEF; ro-RO AB; ru-RU ABCDE; sk-SK AB; sr-RS A; sv-SE ABCDEFG; ta-IN ABCD; te-IN ABCD; th-TH
    A; tr-TR ABCDE; uk-UA A; vi-VN ABCD; yue-HK ABCD
"""
GOOGLE = frozenset(
    f"Google.{language}-Standard-{letter}"
    for language, letters in (entry.split() for entry in _STANDARD.split(";"))
    for letter in letters
)
#: A voice of Amazon's does not say in its name which language it speaks.
POLLY = {"Polly.Hannah-Neural": "de-AT", "Polly.Mia": "es-MX"}
