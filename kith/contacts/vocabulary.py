"""Column names of address books in the languages that Outlook, Thunderbird, Google, Apple and phones
export.

Names are compared as `plain` returns them; "_" stands for a space. A missing language costs a table its
names, not its numbers: columns with unknown names are read by what their cells look like.
"""

import re
import unicodedata

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BREAKS = re.compile(r"[\s_]+")

#: Whole words for a phone, besides "tel", which may begin longer words.
_PHONE_WORDS = """
    cell cells cel cels tlf tlfn tfn gsm hp isdn ffon simi fon fono mob sms fax dect voip
    тел моб gsm-nummer contact_no contact_number contact_numbers direct_line direct_dial direct
    numero_movil mobielnummer
"""
#: Parts of words for a phone.
_PHONE_PARTS = """
    phone mobil mobitel movil handy telefon telefoon celular cellulare portable rufnummer festnetz durchwahl
    natel fernsprech landline hotline callback ruckruf pager whatsapp viber msisdn telemovel telefax
    telecop fax faks puhelin kannykk farsimi farsími talrun komork selfoon semafoon semafon buscaperson
    telepon ponsel điện_thoại di_động cep_tel mugikorra telèfon numero_de_tel
    телефон мобил мобіл мабіл сотов факс пейджер тэлефон мобител
    τηλεφων κινητο φαξ βομβητης
    טלפון נייד פקס סלולרי זימונית
    هاتف جوال موبايل محمول فاكس تليفون تلفون تلفن موبایل همراه فکس دورنگار موبائل
    फ़ोन मोबाइल दूरभाष फ़ैक्स ফোন মোবাইল ফ্যাক্স போன் தொலைபேசி கைபேசி மொபைல் ఫోన్ మొబైల్
    ഫോൺ മൊബൈൽ ಫೋನ್ ಮೊಬೈಲ್ ફોન મોબાઇલ ਫ਼ੋਨ ਮੋਬਾਈਲ
    โทรศัพท์ มือถือ โทรสาร แฟกซ์
    電話 携帯 ファックス ファクス ファクシミリ ポケットベル ポケベル
    电话 手机 传真 寻呼 手機 行動 傳真 呼叫器 手提
    전화 휴대폰 핸드폰 팩스 무선 호출기
    ტელეფონ მობილურ ფაქს հեռախոս բջջային ֆաքս
"""
#: Whole words of columns that are no phones although they may name one.
_NOT_A_PHONE = """
    phonetic phonetisch phonetique fonetico fonetica yomi type typ tipo label etiqueta etichetta libelle
    etikett etiket soort rodzaj e-mail email mail correo courriel тип ярлык метка
"""
#: Whole words of columns about a phone, without its number; CRM systems have dozens.
_ABOUT_A_PHONE = """
    country_code dial_code dialing_code dialling_code calling_code isd_code area_code code_pays
    landesvorwahl vorwahl prefix prefijo prefisso extension ext opt opted optout has do_not dnc
    consent verified validated confirmed status carrier provider operator count date time created
    updated modified allowed allow id source country valid model notes score bounced subscribed
    ringtone plan contract
"""
#: Whole words of columns with the country of phones, as a code or a name.
_COUNTRY_CODE = """
    country_code country_codes countrycode dial_code dialing_code dialling_code calling_code isd_code isd
    country_calling_code country_prefix phone_country phone_country_code country_dial_code
    international_code international_prefix idd landesvorwahl landervorwahl laendervorwahl
    landeskennzahl landerkennzahl landercode landescode indicatif indicatif_pays indicatif_international
    code_pays codigo_de_pais codigo_pais codigo_del_pais prefijo_internacional prefijo_pais codigo_do_pais
    prefisso_internazionale prefisso_paese codice_paese landnummer landcode landskod landsnummer
    landekode landkode kod_kraju numer_kierunkowy_kraju maatunnus ulke_kodu код_страны код_країни
    国家代码 国家区号 国番号 국가_코드
"""
#: Whole words of columns with other countries.
_OF_ADDRESSES = """
    address billing mailing shipping birth nationality passport bank tax adresse rechnung lieferung postal
"""
#: Whole words of columns with area codes.
_AREA_CODE = """
    area_code areacode vorwahl ortsvorwahl ortskennzahl std_code city_code netnummer kengetal riktnummer
    indicatif_regional codigo_de_area codigo_area ddd prefisso_locale numer_kierunkowy код_города
"""
#: Whole words of columns with other numbers.
_OTHER = """
    steuernummer steuer-nr umsatzsteuer ust-idnr mandat mandatsreferenz mandant mandate debitor debitoren
    debitorennummer kreditor kreditornummer kreditoren personalnummer mitgliedsnummer vertragsnummer
    rechnungsnummer auftragsnummer artikelnummer kassenzeichen aktenzeichen debtor creditor
    customer_id client_id contract_number member_number invoice invoice_number invoice_no siret siren
    id uid uuid guid plz zip postal postcode postleitzahl postnummer postinumero postboks psc kod_pocztowy
    iranyitoszam po_box birth birthday birthdate geburtstag geburtsdatum anniversary jahrestag date datum
    fecha date_of_birth dob iban bic account_number konto kontonummer customer_number customer_no
    kundennummer kunden-nr order_number tax vat social_security_number insurance_number passport
    government_id organizational_id url web website web_page homepage home_page photo latitude longitude
    created modified updated timestamp rev revision amount house_number hausnummer numero_de_rue
    street_number huisnummer mileage sensitivity priority индекс инн 郵便番号 邮政编码 郵遞區號 우편번호
"""

_FULL = """
    name full_name fullname display_name displayname file_as contact contact_name fn kontakt cn
    anzeigename vollstandiger_name speichern_unter nombre_completo nom_complet nom_affiche
    nome_completo nome_visualizzato nome_de_exibicao nome_apresentado weergavenaam volledige_naam naam
    visningsnamn visningsnavn navn namn nimi nayttonimi wyswietlana_nazwa nazwa zobrazovane_jmeno
    zobrazovane_meno megjelenitett_nev nev nume_afisat nume_complet ime_i_prezime prikazno_ime
    gorunen_ad ad_soyad εμφανιζομενο_ονομα полное_имя отображаемое_имя фио контакт
    повне_ім'я відображуване_ім'я שם שם_מלא שם_תצוגה الاسم الاسم_الكامل
    اسم_العرض نام نام_کامل नाम ชื่อ ชื่อที่แสดง tên họ_và_tên nama nama_lengkap nama_tampilan
    氏名 名前 表示名 姓名 显示名称 顯示名稱 全名 名称 이름 성명 표시_이름 saved_name
    notify pushname push_name verified_name
"""
_GIVEN = """
    first_name firstname given_name givenname given first vorname nombre prenom nome
    primeiro_nome nome_proprio
    voornaam fornamn fornavn etunimi eiginnafn imie jmeno krestni_jmeno meno krstne_meno utonev keresztnev
    prenume ime vardas vards eesnimi ad adi isim ονομα имя ім'я імя име שם_פרטי
    الاسم_الأول نام_کوچک पहला_नाम प्रथम_नाम ชื่อจริง tên_gọi nama_depan 名 お名前 名字 public_display_name
"""
_MIDDLE = """
    middle_name additional_name middlename middle weitere_vornamen zweiter_vorname segundo_nombre
    deuxieme_prenom autres_prenoms secondo_nome nome_do_meio tussenvoegsel tweede_naam mellannamn mellomnavn
    mellemnavn toinen_nimi drugie_imie prostredni_jmeno kozepso_nev отчество по_батькові второ_име
    שם_אמצעי ミドル_ネーム 中间名 中間名 중간_이름 orta_ad ikinci_ad
"""
_FAMILY = """
    last_name lastname family_name familyname family surname last sn nachname familienname apellido apellidos
    nom
    nom_de_famille cognome apelido sobrenome achternaam familienaam efternamn etternavn efternavn sukunimi
    eftirnafn nazwisko prijmeni priezvisko vezeteknev csaladnev nume nume_de_familie prezime priimek pavarde
    uzvards perekonnanimi soyad soyadi επωνυμο επιθετο фамилия прізвище презиме фамилно_име фамилия שם_משפחה
    اسم_العائلة اسم_عائلة الكنية نام_خانوادگی उपनाम अंतिम_नाम นามสกุล họ nama_belakang nama_keluarga 姓 성
"""
_ORGANIZATION = """
    organization organisation organization_name organization_1_-_name company company_name firma empresa
    societe entreprise azienda societa bedrijf foretag firmanavn yritys fyrirtaeki spolecnost spolocnost
    ceg companie tvrtka podjetje imone uznemums ettevote sirket εταιρεια организация компания організація
    компанія фирма חברה ארגון الشركة شركة شرکت कंपनी บริษัท công_ty perusahaan 会社 会社名 所属 公司 单位 회사
"""


def normalize_name(cell: str) -> str:
    """Return a header cell in lower case without accents."""
    letters = unicodedata.normalize("NFKD", _CAMEL.sub(" ", cell).casefold())
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return _BREAKS.sub(" ", letters).strip(" \ufeff:*")


def is_phone(word: str) -> bool:
    """Return whether a normalized column name means phone numbers."""
    return _PHONE.search(word) is not None and _NOT_PHONE_NAMES.search(word) is None


def is_about_a_phone(word: str) -> bool:
    """Return whether a normalized column name is about phones, but perhaps not their numbers."""
    return _ABOUT.search(word) is not None


def country_code_of(word: str) -> str | None:
    """Return the rest of a normalized name of a country column, such as "home phone"; None for
    another column.
    """
    if _COUNTRY_CODES.search(word) is None or _ADDRESSES.search(word) is not None:
        return None
    return _COUNTRY_CODES.sub(" ", word)


def is_area_code(word: str) -> bool:
    """Return whether a normalized column name means area codes."""
    return _AREA_CODES.search(word) is not None


def is_other(word: str) -> bool:
    """Return whether a normalized column name means anything but phone numbers."""
    return _OF_OTHER_NUMBERS.search(word) is not None or _NOT_PHONE_NAMES.search(word) is not None


def word_set(words: str) -> frozenset[str]:
    """Return names that are separated by white space, normalized."""
    return frozenset(normalize_name(word) for word in words.split())


def _any_of(words: str) -> str:
    return "|".join(sorted(map(re.escape, word_set(words)), key=len, reverse=True))


def _whole_words(words: str) -> str:
    return rf"(?<!\w)(?:{_any_of(words)})(?!\w)"


FULL = word_set(_FULL)
GIVEN = word_set(_GIVEN)
MIDDLE = word_set(_MIDDLE)
FAMILY = word_set(_FAMILY)
ORGANIZATION = word_set(_ORGANIZATION)

_PHONE = re.compile(
    rf"(?<!\w)tel(?!egram|evis|etext|ex)|{_whole_words(_PHONE_WORDS)}|{_any_of(_PHONE_PARTS)}"
)
_NOT_PHONE_NAMES = re.compile(_whole_words(_NOT_A_PHONE))
_OF_OTHER_NUMBERS = re.compile(_whole_words(_OTHER))
_ABOUT = re.compile(_whole_words(_ABOUT_A_PHONE))
_COUNTRY_CODES = re.compile(_whole_words(_COUNTRY_CODE))
_ADDRESSES = re.compile(_whole_words(_OF_ADDRESSES))
_AREA_CODES = re.compile(_whole_words(_AREA_CODE))
NAMES = FULL | GIVEN | MIDDLE | FAMILY | ORGANIZATION


def is_known(word: str) -> bool:
    """Return whether a normalized column name means phones or a part of a name."""
    return word in NAMES or is_phone(word)
