"""Pure: the words of slips and explanations in the four languages of the buildings' residents."""

from __future__ import annotations

LANGUAGES = ("de", "fr", "it", "en")

_TEXTS: dict[str, tuple[str, str, str, str]] = {
    "slip": ("Ladebeleg", "Justificatif de recharge", "Ricevuta di ricarica", "Charging slip"),
    "site": ("Anlage", "Installation", "Impianto", "Site"),
    "session": ("Ladevorgang", "Recharge", "Ricarica", "Session"),
    "place": ("Ladepunkt", "Point de recharge", "Punto di ricarica", "Charging point"),
    "card": ("Karte", "Carte", "Carta", "Card"),
    "begin": ("Beginn", "Début", "Inizio", "Begin"),
    "end": ("Ende", "Fin", "Fine", "End"),
    "meter": ("Zähler", "Compteur", "Contatore", "Meter"),
    "register": ("Zählerstand", "Index du compteur", "Lettura del contatore", "Register"),
    "energy": ("Energie", "Énergie", "Energia", "Energy"),
    "solar": ("Sonne (eigene Anlage)", "Soleil (installation propre)", "Sole (impianto proprio)", "Sun (own plant)"),
    "grid": ("Netz", "Réseau", "Rete", "Grid"),
    "total": ("Summe", "Total", "Totale", "Total"),
    "signed_by": ("Signiert von", "Signé par", "Firmato da", "Signed by"),
    "by_gateway": (
        "dem Gateway der Anlage: unverändert ab dem Gateway, keine Eichung",
        "la passerelle de l'installation : inchangé à partir de la passerelle, pas un étalonnage",
        "il gateway dell'impianto: invariato a partire dal gateway, non una taratura",
        "the gateway of the site: tamper-evident from the gateway on, not a calibration",
    ),
    "by_charger": (
        "der Ladestation; der Text ist unverändert weitergegeben",
        "la borne de recharge ; le texte est transmis sans modification",
        "la stazione di ricarica; il testo è trasmesso senza modifiche",
        "the charging station; its text is passed through unchanged",
    ),
    "by_none": ("nicht signiert", "non signé", "non firmato", "not signed"),
    "public_key": ("Öffentlicher Schlüssel", "Clé publique", "Chiave pubblica", "Public key"),
    "key_help": (
        "Der QR-Code enthält den öffentlichen Schlüssel. Damit prüft die Transparenzsoftware der S.A.F.E. den Text.",
        "Le code QR contient la clé publique, avec laquelle le logiciel de transparence de S.A.F.E. vérifie le texte.",
        "Il codice QR contiene la chiave pubblica, con cui il software di trasparenza di S.A.F.E. verifica il testo.",
        "The QR code holds the public key, with which the transparency software of S.A.F.E. checks the text.",
    ),
    "provisional": (
        "Die Aufteilung ist vorläufig und wird nachgereicht.",
        "La répartition est provisoire et sera complétée.",
        "La ripartizione è provvisoria e sarà completata.",
        "The split is provisional and will follow.",
    ),
    "unmeasured": (
        "Was das Haus in dieser Viertelstunde brauchte, hat niemand gemessen: ohne Aufteilung, alles als Netzstrom.",
        "Personne n'a mesuré ce que la maison a consommé durant ce quart d'heure : sans répartition, tout du réseau.",
        "Nessuno ha misurato il consumo della casa in questo quarto d'ora: senza ripartizione, tutto dalla rete.",
        "Nobody measured what the house used in this quarter hour: without a split, all of it as grid energy.",
    ),
    "simulation": (
        "SIMULATION: keine wirkliche Energie", "SIMULATION : pas d'énergie réelle",
        "SIMULAZIONE: nessuna energia reale", "SIMULATION: no real energy",
    ),
    "unbillable": (
        "Nicht abrechenbar, bis eine Person entscheidet", "Non facturable avant décision d'une personne",
        "Non fatturabile finché una persona non decide", "Not billable until a person decides",
    ),
    "record": ("Prüfsumme des Belegs", "Empreinte de l'enregistrement", "Impronta del record", "Hash of the record"),
    "explain": (
        "Woher kam der Strom dieses Ladevorgangs?", "D'où venait l'électricité de cette recharge ?",
        "Da dove veniva l'elettricità di questa ricarica?", "Where did the electricity of this session come from?",
    ),
    "from_to": ("Viertelstunde", "Quart d'heure", "Quarto d'ora", "Quarter hour"),
    "house_used": ("Haus verbrauchte", "Consommé par la maison", "Consumo della casa", "House used"),
    "sun_gave": ("davon Sonne", "dont soleil", "di cui sole", "of it sun"),
    "point_used": ("Ladepunkt", "Point", "Punto", "Point used"),
    "point_sun": ("davon Sonne", "dont soleil", "di cui sole", "of it sun"),
    "you_used": ("Sie luden", "Vous avez chargé", "Lei ha caricato", "You charged"),
    "you_sun": ("davon Sonne", "dont soleil", "di cui sole", "of it sun"),
    "you_grid": ("davon Netz", "dont réseau", "di cui rete", "of it grid"),
    "class": ("Tarif", "Tarif", "Tariffa", "Class"),
    "rule": (
        "In jeder Viertelstunde wird die Sonne im Verhältnis des Verbrauchs geteilt: Sonne im Haus x Ladepunkt / Haus. "
        "Gerundet wird auf ganze Wattstunden; der Rest wird in die nächste Viertelstunde mitgenommen.",
        "À chaque quart d'heure, le soleil est partagé selon la consommation : soleil de la maison x point / maison. "
        "On arrondit au wattheure ; le reste passe au quart d'heure suivant.",
        "In ogni quarto d'ora il sole è diviso secondo il consumo: sole della casa x punto / casa. "
        "Si arrotonda al wattora; il resto passa al quarto d'ora successivo.",
        "In each quarter hour the sun is shared in proportion to use: sun in the house x point / house. "
        "It is rounded to whole watt-hours; the rest is carried into the next quarter hour.",
    ),
    "rule_fixed": (
        "In jeder Viertelstunde hat jeder Teilnehmer einen vereinbarten Anteil der Sonne, soweit er ihn verbraucht.",
        "À chaque quart d'heure, chaque participant a sa part convenue du soleil, dans la mesure où il la consomme.",
        "In ogni quarto d'ora ogni partecipante ha la sua parte concordata del sole, nella misura in cui la consuma.",
        "In each quarter hour everybody has an agreed part of the sun, as far as they use it.",
    ),
}  # fmt: skip


_REASONS: dict[str, tuple[str, str, str, str]] = {
    "start_refused": (
        "die Karte wurde abgelehnt", "la carte a été refusée", "la carta è stata rifiutata", "the card was refused",
    ),
    "stop_without_start": (
        "das Ende kam ohne einen Beginn", "la fin est arrivée sans début", "la fine è arrivata senza un inizio",
        "its end came without a begin",
    ),
    "start_without_stop": (
        "die Ladestation hat kein Ende gemeldet", "la borne n'a signalé aucune fin",
        "la stazione non ha segnalato una fine", "the charging station told of no end",
    ),
    "no_meter": (
        "der Ladepunkt hat keinen Zähler", "le point de recharge n'a pas de compteur",
        "il punto di ricarica non ha contatore", "the charging point has no meter",
    ),
    "no_begin_register": (
        "der Zählerstand am Beginn fehlt", "l'index au début manque", "manca la lettura all'inizio",
        "the register at the begin is missing",
    ),
    "no_end_register": (
        "der Zählerstand am Ende fehlt", "l'index à la fin manque", "manca la lettura alla fine",
        "the register at the end is missing",
    ),
    "end_register_only_from_charger": (
        "am Ende ist nur der Wert der Ladestation bekannt", "à la fin, seule la valeur de la borne est connue",
        "alla fine è noto solo il valore della stazione", "at the end only the charging station's value is known",
    ),
    "ended_before_the_gateway_saw_it_begin": (
        "der Beginn wurde nicht gesehen", "le début n'a pas été vu", "l'inizio non è stato visto",
        "its begin was not seen",
    ),
    "meter_swapped": (
        "der Zähler wurde währenddessen getauscht", "le compteur a été remplacé entre-temps",
        "il contatore è stato sostituito nel frattempo", "the meter was exchanged meanwhile",
    ),
    "register_went_back": (
        "der Zählerstand ging zurück", "l'index du compteur a reculé", "la lettura del contatore è tornata indietro",
        "the register went back",
    ),
}  # fmt: skip


def why_not(code: str | None, language: str) -> str:
    """Why a session is not billable, with the code; a code of a later version alone."""
    if code is None:
        return word("unbillable", language)
    known = _REASONS.get(code)
    reason = f"{known[LANGUAGES.index(language)]} ({code})" if known else code
    return f"{word('unbillable', language)}: {reason}"


def word(name: str, language: str) -> str:
    """One text in one of LANGUAGES."""
    return _TEXTS[name][LANGUAGES.index(language)]
