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
        accession birth ph iban city town scantime examtime studytime
    """,
    "German": """
        vorname vornamen nachname familienname zuname geburtsname madchenname maedchenname rufname patientenname
        namedespatienten initialen geburtsdatum gebdatum gebdat geburtstag geb adresse anschrift wohnort strasse str
        strassenname hausnummer postleitzahl plz telefon telefonnummer tel handy handynummer mobiltelefon mobilnummer
        emailadresse krankenversichertennummer krankenversicherungsnummer krankenkassennummer versichertennummer
        versicherungsnummer sozialversicherungsnummer svnr ahv ahvnummer ausweisnummer personalausweis fallnummer
        fallnr aufnahmenummer aktennummer krankenaktennummer patientenaktennummer auftragsnummer kontaktperson kontakt
        angehorige angehoriger arzt hausarzt zuweiser behandelnderarzt nachn vorn svn geboren ort stadt
    """,
    "French": """
        nom noms prenom prenoms nomdefamille nomdenaissance nomdejeunefille nomusuel nompatient nomdupatient
        nomprenom nometprenom prenomnom initiales datedenaissance datenaissance ddn neele adresse rue codepostal
        domicile telephone numerodetelephone telportable portable courriel adressemail numerodesecuritesociale
        numerosecuritesociale numsecu nss numerodedossier numerodossier numdossier dossier dossiermedical
        numerodadmission personneacontacter medecin medecintraitant ville
    """,
    "Spanish": """
        nombre nombres apellido apellidos primerapellido segundoapellido nombrepaciente nombredelpaciente
        nombrecompleto nombreyapellidos nombreapellidos iniciales nacimiento fnac direccion domicilio calle
        codigopostal telefono telefonomovil numerodetelefono movil correo correoelectronico dni nif cedula curp
        numerodeseguridadsocial seguridadsocial tarjetasanitaria historiaclinica numerodehistoria numerohistoria
        numerohistoriaclinica numerodehistoriaclinica nhc expediente numerodeexpediente contacto medico medicotratante
        ciudad
    """,
    "Italian": """
        nome cognome nomecognome nomeecognome cognomenome cognomeenome nomepaziente nomedelpaziente nomecompleto
        iniziali datadinascita datanascita indirizzo residenza codicepostale telefono cellulare numeroditelefono
        codicefiscale tesserasanitaria cartellaclinica numerocartella numerodicartella numerocartellaclinica
        numerodicartellaclinica contatto medico medicocurante citta dataesame datadiesame datadellesame datavisita
        datadellavisita datadiagnosi datadidiagnosi dataricovero datadiricovero dataintervento datadecesso
        datadidecesso
    """,
    "Portuguese": """
        nome sobrenome apelido nomepaciente nomedopaciente nomecompleto nomedamae iniciais datadenascimento
        datanascimento dtnascimento nascimento endereco morada rua codigopostal telefone telemovel numerodetelefone
        cpf nif cartaosus numerodocartaosus prontuario numeroprontuario numerodoprontuario numerodeprontuario
        numerodeutente contato medico cidade dataexame datadoexame datadeexame dataconsulta datadaconsulta datavisita
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
#: Longer names of columns that hold one of these, in whatever word.
PARTS = (
    *("patientname", "dateofbirth", "birthdate", "phonenumber", "emailaddress", "homeaddress", "firstname"),
    *("lastname", "familyname", "givenname", "maidenname", "medicalrecord", "socialsecurity", "telephon"),
    *("vorname", "nachname", "geburtsdatum", "geburtstag", "geburtsjahr", "telefon", "hausarzt"),
    *("versichertennummer", "versicherungsnummer"),
    *("datedenaissance", "nomdupatient", "securitesociale", "nacimiento", "apellido", "seguridadsocial"),
    *("datadinascita", "datanascita", "codicefiscale", "nascimento", "voornaam", "achternaam", "geboortedatum"),
    *("instanceuid", "studyuid", "seriesuid"),
    *("姓名", "身份证", "身份證", "身分證", "电话", "電話", "手机", "手機", "住院号", "住院號", "病历号", "病歷號"),
    *("出生日期", "出生年", "地址", "住址", "生年月日"),
)
_WORDS = """
    phone phones tel fax mail email emails address addresses adresse adressen adres indirizzo direccion endereco street
    strasse postcode postleitzahl zip zipcode plz handy surname forename initials initialen initiales iniciales iniziali
    iniciais mrn ssn iban passport dob yob birthday kin accession uid uids physician doctor arzt
    """
#: Words that tell by themselves, wherever they are in the name of a column: "Phone (home)" and "home phone".
WORDS = frozenset(_WORDS.split())
_PERSONS = """
    pt pat patient patients patienten paciente subject person relative mother father spouse wife husband partner
    guardian surgeon radiologist nurse operator chirurg mutter vater
    """
PERSONS = frozenset(_PERSONS.split())
#: With the word for a person these make a column of names.
NAMES = frozenset(("name", "names", "nom", "nombre", "nome", "naam"))
_BORN = "birth born year month day date place yr of"
#: With no other word than these a birth is when or where somebody was born; a birth weight is not.
BORN = frozenset(_BORN.split())
_NUMBERED = """
    pat patient patienten paciente pt subject case fall id kis kh his ris pacs hospital klinik krankenhaus sv
    versicherten versicherungs versicherung insurance pass ausweis study studien exam chart file record admission
    encounter 病人 患者 住院 检查 檢查 影像 门诊 門診 病历 病歷 病案 登记 登記 就诊 就診 放射 医保 社保 病理 标本
    """
#: What is numbered: patients, and what hospitals and offices keep of them.
NUMBERED = frozenset(_NUMBERED.split())
#: By themselves, or behind the name of what is numbered, these say that a column holds numbers.
NUMBER_WORDS = ("no", "nr", "num", "number", "nummer", "numero", "id", "ids", "code")
NUMBER_ENDINGS = (*NUMBER_WORDS, "号", "号码", "號", "號碼", "番号", "编号", "編號", "编码")
NUMBER_BEGINNINGS = ("numerode", "numero", "node", "nde", "no", "n")  # "N° de téléphone"
#: Words of a name by which the column holds exact dates: of birth, of examinations, of visits.
DATES = frozenset(("date", "dates", "datum", "datetime", "timestamp", "timestamps", "fecha", "fechas"))
DATE_BEGINNINGS = ("dateof", "datede", "datedu", "dateexam", "fecha")
_EVENTS = """
    exam examination study series scan mri acquisition visit admission discharge birth death diagnosis surgery operation
    biopsy treatment followup report start
"""
_TIMED = "检查 檢查 扫描 手术 手術 入院 出院 就诊 就診 诊断 診斷 确诊 活检 死亡 开始 结束"
DATE_ENDINGS = (
    *("datum", "日期", "fecha"),
    *(f"{event}date" for event in _EVENTS.split()),
    *(f"{event}{time}" for event in _TIMED.split() for time in ("时间", "時間")),
)
_GERMAN_EVENTS = """
    geb geboren gestorben verstorben op operiert untersucht untersuchung mrt mri ct aufnahme entlassung diagnose biopsie
    befund erstellt
    """
#: What has a day in German: "MRT vom", "operiert am".
GERMAN_EVENTS = frozenset(_GERMAN_EVENTS.split())
_INTERVALS = """
    days day weeks months month years since until from to shifted relative interval tage wochen monate jahre seit bis
    jours mois depuis dias meses desde giorni mesi dal dagen weken maanden sinds
"""
#: With one of these a column holds times since a date, and no date: "days since date of diagnosis".
INTERVALS = frozenset(_INTERVALS.split())
INTERVAL_SIGNS = frozenset("至距")
#: Before a number of up to four digits these words tell of nobody.
_PREFIXES = """
    p pt pat patient patients sub subject subj s case id no nr n anon anonymous volunteer phantom test folder
    npc hn hnc
    """
PREFIXES = frozenset(_PREFIXES.split())
#: Of these and a number of up to three digits the names of visits are made that tell no date.
_VISITS = """
    ses session visit v scan exam study tp timepoint time point t baseline bl month months mo m week weeks wk w day days
    d year years yr y pre post preop postop followup follow up fu initial first second third fourth last mid end before
    after during treatment therapy rt chemo surgery recurrence staging restaging
    """
VISITS = frozenset(_VISITS.split())
_MAKERS = """
    siemens healthineers philips healthcare medical systems general electric toshiba canon hitachi united
    imaging uih shimadzu esaote fuji fujifilm neusoft bruker hologic magnetom signa achieva ingenia discovery
    skyra prisma avanto verio aera vida sola lumina espree symphony trio intera gyroscan optima artist architect
    premier vantage titan umr mri scanner phantom head neck
    """
#: Words of makers and scanners, which stay even if a test object was registered under such a name.
MAKERS = frozenset(_MAKERS.split())
_SHORT = """
    ge mr ct nm pt us cr dr dx xr se gr ir ep rm sk mp ss sp tr te ti ta fa hd no na ja si ok de la of in to at id nr st
    rd is by as am ii iv
    """
#: Words of two letters of headers and tables, which are no names unless another part of the name stands beside them.
SHORT = frozenset(_SHORT.split())
