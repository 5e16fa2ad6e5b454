"""Words of clinical tables in Chinese, Japanese, German, French, Spanish and Portuguese.

Column names are written as :func:`npczarr.model.clinical.plain` makes them: lower case, no accents, nothing but letters
and digits. A TOML file adds to them: ``[columns]`` and ``[values]``.
"""

from __future__ import annotations

#: Names of columns by clinical field.
COLUMNS = {
    "age": (
        "年龄 就诊年龄 诊断年龄 确诊年龄 年齡 就診年齡 診斷年齡 年齢 診断時年齢 alter lebensalter patientenalter "
        "alterbeidiagnose "
        "diagnosealter agedupatient ageaudiagnostic edad edadaldiagnostico idade idadeaodiagnostico "
        "idadenodiagnostico"
    ),
    "sex": "性别 性別 geschl geschlecht sexe sexo genre genero",
    "t_stage": "t分期 临床t分期 t期 t病期 t因子 tstadium tkategorie stadet estadiot estadiot categoriat",
    "n_stage": "n分期 临床n分期 n期 n病期 n因子 nstadium nkategorie staden estadion categorian",
    "m_stage": "m分期 临床m分期 m期 m病期 m因子 mstadium mkategorie stadem estadiom categoriam",
    "clinical_stage": (
        "分期 临床分期 臨床分期 總分期 总分期 tnm分期 ajcc分期 uicc分期 臨床病期 病期 臨床ステージ ステージ "
        "stadium tnmstadium "
        "klinischesstadium uiccstadium stade stadeclinique stadetnm estadio estadioclinico estadiamento "
        "estadiamentoclinico estadiotnm"
    ),
    "pathology": (
        "病理 病理类型 病理類型 病理診斷 病理分型 病理诊断 组织学类型 who分型 病理組織型 組織型 病理診断 histologie "
        "histologischertyp pathologie typehistologique histologia tipohistologico patologia anatomiapatologica"
    ),
    "ebv": (
        "ebvdna拷贝数 eb病毒 eb病毒dna ebvdna定性 ebウイルス ebウイルスdna ebvvirus ebvadn adnebv "
        "epsteinbarrvirusdns ebvdns"
    ),
    "vca": "vca抗体 eb病毒vcaiga vcaiga抗体 抗vcaiga",
    "overall_survival": (
        "总生存期 总生存时间 總生存期 總存活期 存活時間 追蹤時間 生存时间 生存期 随访时间 os时间 全生存期間 "
        "生存期間 追跡期間 観察期間 "
        "gesamtuberleben uberlebenszeit uberleben nachbeobachtungszeit nachbeobachtung surviesglobale "
        "survieglobale dureedesuivi suivi supervivenciaglobal supervivencia tiempodeseguimiento seguimiento "
        "sobrevidaglobal sobrevivenciaglobal sobrevida tempodeseguimento seguimento"
    ),
    "death": (
        "死亡 是否死亡 存活狀態 生存状态 生存情况 转归 os事件 生存状況 転帰 tod verstorben gestorben todesfall "
        "vitalstatus deces statutvital decedee decede muerte fallecido exitus estadovital obito morte falecido "
        "statusvital"
    ),
    "progression_free_survival": (
        "无进展生存期 無進展生存期 無惡化存活期 无进展生存时间 pfs时间 無増悪生存期間 無進行生存期間 "
        "progressionsfreiesuberleben "
        "surviesansprogression supervivencialibredeprogresion sobrevidalivredeprogressao"
    ),
    "progression": "进展 是否进展 疾病进展 pfs事件 増悪 進行 progress progresion progressao progressionsereignis",
}
PATIENT_COLUMNS = (
    "患者编号 病人编号 患者編號 病人編號 病例編號 編號 病例编号 受试者编号 患者id 病人id 编号 病例号 患者番号 "
    "症例番号 被験者番号 症例id 症例 "
    "番号 患者 病人 patientennummer patientenid patientennr patientnr patnr patid fallnummer fallid fall "
    "pseudonym numeropatient numpatient npatient nopatient "
    "idpatient identifiantpatient identifiant numerodepaciente numeropaciente idpaciente paciente "
    "numerodopaciente codigodopaciente 序号 nummer numero"
)
SEQUENCE_COLUMNS = "序列 扫描序列 シーケンス sequenz sequencia secuencia"
SESSION_COLUMNS = "访视 随访次数 时间点 检查次数 受診 来院 時点 visite termin zeitpunkt sitzung visita sesion sessao"

#: Answers to what the name of a column asks; whitespace separates them, here and below.
NO = "否 无 無 なし nein non nao いいえ"
YES = "是 有 あり ja oui si sim はい"
_NEGATIVE = "阴性 阴 未检出 陰性 陰 negativ negatif negativo negativa"
_POSITIVE = "阳性 阳 检出 陽性 陽 positiv positif positivo positiva"
#: Entries by clinical field and meaning.
VALUES: dict[str, dict[str, str]] = {
    "sex": {
        "female": "女 女性 女士 weiblich frau femme feminin mujer femenino femenina hembra mulher feminino feminina",
        "male": "男 男性 男士 mannlich mann homme masculin hombre masculino varon homem",
    },
    "ebv": {"negative": f"{_NEGATIVE} {NO}", "positive": f"{_POSITIVE} {YES}"},
    "vca": {"negative": f"{_NEGATIVE} {NO}", "positive": f"{_POSITIVE} {YES}"},
    "death": {
        "no": f"{NO} 存活 生存 健在 未死亡 lebt lebend vivant vivante envie vivo viva",
        "yes": f"{YES} 死亡 已故 去世 tot verstorben gestorben decede decedee mort morte fallecido fallecida muerto "
        "muerta exitus obito morto morta falecido falecida",
    },
    "progression": {
        "no": f"{NO} 未进展 无进展 未复发 増悪なし keineprogression sansprogression sinprogresion semprogressao",
        "yes": f"{YES} 进展 复发 増悪 再発 progress rezidiv rechute progresion recidiva progressao",
    },
}
#: Letters for woman and man where the column has them for both: h and m are hombre and mujer, v and m varón and mujer,
#: h and f homme and femme.
SEX_LETTERS = {
    frozenset("hm"): {"h": "male", "m": "female"},
    frozenset("hf"): {"h": "male", "f": "female"},
    frozenset("vm"): {"v": "male", "m": "female"},
}
#: Parts of a word, longest first, that say the type of a carcinoma: basaloid, not keratinizing, keratinizing.
PATHOLOGY = (
    ("Basaloid squamous", "基底 基底細胞様 basaloide basaloid"),
    (
        "Non-keratinized squamous",
        "非角化 nichtverhornend nichtkeratinisierend nonkeratinisant noqueratinizante naoqueratinizante "
        "naoceratinizante",
    ),
    ("Keratinized squamous", "角化 verhornend keratinisierend keratinisant queratinizante ceratinizante"),
)
#: Words around the number of a stage.
STAGE = ("期", "stadium", "stade", "estadio", "ステージ")
UNITS = {
    "day": "天 日 日数 tag tage tagen jour jours dia dias",
    "week": "周 週 星期 woche wochen semaine semaines semana semanas",
    "month": "月 个月 個月 ヶ月 か月 カ月 月数 monat monate monaten mois mes meses",
    "year": "年 岁 歳 才 年数 jahr jahre jahren an ans annee annees ano anos",
}
_MISSING = (
    "desconhecida desconhecido desconocida desconocido fehlt inconnu inconnue k.a k.a. keineangabe nd s/d "
    "unbekannt データなし 不明 不详 无数据 未実施 未查 未検 未测 未知 欠測 缺失"
)
MISSING = frozenset(_MISSING.split()) | {"keine angabe", "no disponible", "non disponible", "sem dados", "sin datos"}
