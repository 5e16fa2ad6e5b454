"""Names of columns that tell who a patient is or when they came, in the languages of clinical tables.

Written as :func:`npczarr.model.clinical.plain` makes them: lower case, no accents, nothing but letters and digits.
"""

from __future__ import annotations

_BY_LANGUAGE = {
    "English": """
        name names fullname firstname forename lastname surname givenname familyname middlename maidenname initials
        patientname patientsname nameofpatient ptname mrn mrnumber medicalrecordnumber medicalrecord recordnumber
        hospitalnumber hospitalid hospitalno ssn socialsecuritynumber nhsnumber nhsno insurancenumber insuranceid
        passport passportnumber idcard idcardnumber nationalid phone phonenumber telephone telephonenumber tel mobile
        mobilephone cellphone fax email mail address homeaddress street streetaddress postcode zipcode zip birthdate
        birthday dateofbirth dob born contact contactperson nextofkin relative doctor physician accessionnumber
        accession
    """,
    "German": """
        vorname vornamen nachname familienname zuname geburtsname madchenname maedchenname rufname patientenname
        namedespatienten initialen geburtsdatum gebdatum gebdat geburtstag geb adresse anschrift wohnort strasse str
        strassenname hausnummer postleitzahl plz telefon telefonnummer tel handy handynummer mobiltelefon mobilnummer
        emailadresse krankenversichertennummer krankenversicherungsnummer krankenkassennummer versichertennummer
        versicherungsnummer sozialversicherungsnummer svnr ahv ahvnummer ausweisnummer personalausweis fallnummer
        fallnr aufnahmenummer aktennummer krankenaktennummer patientenaktennummer auftragsnummer kontaktperson kontakt
        angehorige angehoriger arzt hausarzt zuweiser behandelnderarzt
    """,
    "French": """
        nom noms prenom prenoms nomdefamille nomdenaissance nomdejeunefille nomusuel nompatient nomdupatient
        nomprenom nometprenom prenomnom initiales datedenaissance datenaissance ddn neele adresse rue codepostal
        domicile telephone numerodetelephone telportable portable courriel adressemail numerodesecuritesociale
        numerosecuritesociale numsecu nss numerodedossier numerodossier numdossier dossier dossiermedical
        numerodadmission personneacontacter medecin medecintraitant
    """,
    "Spanish": """
        nombre nombres apellido apellidos primerapellido segundoapellido nombrepaciente nombredelpaciente
        nombrecompleto nombreyapellidos nombreapellidos iniciales nacimiento fnac direccion domicilio calle
        codigopostal telefono telefonomovil numerodetelefono movil correo correoelectronico dni nif cedula curp
        numerodeseguridadsocial seguridadsocial tarjetasanitaria historiaclinica numerodehistoria numerohistoria
        numerohistoriaclinica numerodehistoriaclinica nhc expediente numerodeexpediente contacto medico medicotratante
    """,
    "Italian": """
        nome cognome nomecognome nomeecognome cognomenome cognomeenome nomepaziente nomedelpaziente nomecompleto
        iniziali datadinascita datanascita indirizzo residenza codicepostale telefono cellulare numeroditelefono
        codicefiscale tesserasanitaria cartellaclinica numerocartella numerodicartella numerocartellaclinica
        numerodicartellaclinica contatto medico medicocurante dataesame datadiesame datadellesame datavisita
        datadellavisita datadiagnosi datadidiagnosi dataricovero datadiricovero dataintervento datadecesso
        datadidecesso
    """,
    "Portuguese": """
        nome sobrenome apelido nomepaciente nomedopaciente nomecompleto nomedamae iniciais datadenascimento
        datanascimento dtnascimento nascimento endereco morada rua codigopostal telefone telemovel numerodetelefone
        cpf nif cartaosus numerodocartaosus prontuario numeroprontuario numerodoprontuario numerodeprontuario
        numerodeutente contato medico dataexame datadoexame datadeexame dataconsulta datadaconsulta datavisita
        datadiagnostico datadodiagnostico datainternacao datadainternacao datacirurgia datadacirurgia dataobito
        datadoobito
    """,
    "Dutch": """
        naam namen voornaam voornamen achternaam familienaam tussenvoegsel meisjesnaam roepnaam patientnaam
        naampatient initialen voorletters geboortedatum gebdatum geboortedag adres straat straatnaam huisnummer
        woonplaats telefoon telefoonnummer mobiel mailadres emailadres bsn burgerservicenummer polisnummer
        verzekeringsnummer dossiernummer contactpersoon arts huisarts
    """,
    "Chinese": """
        姓名 名字 患者姓名 病人姓名 姓 名 拼音 姓名拼音 电话 电话号码 手机 手机号 手机号码 联系电话 联系方式 联系人
        身份证 身份证号 身份证号码 社保号 医保号 医保卡号 就诊卡号 住院号 病历号 病案号 门诊号 登记号 检查号 影像号
        放射号 出生日期 出生年月 出生年月日 生日 地址 住址 家庭住址 通讯地址 邮编 邮箱 电子邮箱 电子邮件 医生 主治医生
        電話 電話號碼 手機 手機號碼 聯絡電話 身分證 身分證字號 身份證 身份證號 健保卡號 住院號 病歷號 病歷號碼 病案號
        門診號 郵遞區號 電子郵件 醫師 醫生 日期
    """,
    "Japanese and Korean": """
        氏名 名前 患者名 患者氏名 生年月日 誕生日 住所 郵便番号 電話番号 メールアドレス カルテ番号 診療録番号 保険証番号
        主治医 検査日 撮影日 診断日 手術日 受診日 入院日 退院日 死亡日 日付 이름 성명 환자명 환자이름 생년월일 생일
        주소 전화번호 전화 이메일 주민등록번호 병록번호 등록번호 검사일 날짜
    """,
}
#: Whole names of columns.
COLUMNS = frozenset(word for text in _BY_LANGUAGE.values() for word in text.split())
#: Longer names of columns that hold one of these.
PARTS = (
    *("patientname", "dateofbirth", "birthdate", "phonenumber", "emailaddress", "homeaddress", "firstname"),
    *("lastname", "familyname", "givenname", "maidenname", "medicalrecord", "socialsecurity"),
    *("vorname", "nachname", "geburtsdatum", "geburtstag", "telefon", "versichertennummer", "versicherungsnummer"),
    *("datedenaissance", "nomdupatient", "securitesociale", "nacimiento", "apellido", "seguridadsocial"),
    *("datadinascita", "datanascita", "codicefiscale", "nascimento", "voornaam", "achternaam", "geboortedatum"),
    *("姓名", "身份证", "身份證", "身分證", "电话", "電話", "手机", "手機", "住院号", "住院號", "病历号", "病歷號"),
    *("出生日期", "地址", "住址", "生年月日"),
)
#: Before or behind the name of a number these say no more than that it is one.
NUMBER_ENDINGS = ("no", "nr", "num", "number", "nummer", "numero", "号", "号码", "號", "號碼", "番号")
NUMBER_BEGINNINGS = ("numerode", "numero", "node", "nde", "no", "n")  # "N° de téléphone"
#: Words of a name by which the column holds exact dates: of birth, of examinations, of visits.
DATES = frozenset(("date", "dates", "datum", "fecha", "fechas"))
DATE_BEGINNINGS = ("dateof", "datede", "datedu", "dateexam", "fecha")
_EVENTS = """
    exam examination study series scan mri acquisition visit admission discharge birth death diagnosis surgery operation
    biopsy treatment followup report start
"""
DATE_ENDINGS = ("datum", "日期", "fecha", *(f"{event}date" for event in _EVENTS.split()))
_INTERVALS = """
    days day weeks months month years since until from to shifted relative interval tage wochen monate jahre seit bis
    jours mois depuis dias meses desde giorni mesi dal dagen weken maanden sinds
"""
#: With one of these a column holds times since a date, and no date: "days since date of diagnosis".
INTERVALS = frozenset(_INTERVALS.split())
