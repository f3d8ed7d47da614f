"""The PDF's texts in each language.

Names in braces are filled in by `origin.declarations.pdf.document` and `charts`.
"""

from dataclasses import dataclass
from typing import Literal

from origin.shared.periods import Resolution

Language = Literal["en", "da"]
LANGUAGES: tuple[Language, ...] = ("en", "da")


_FORMULAS = {"co2": "CO₂", "ch4": "CH₄", "n2o": "N₂O", "so2": "SO₂", "nox": "NOₓ", "co": "CO"}


@dataclass(frozen=True)
class Words:
    """The texts of a language. Emissions, names and technologies are by the wire's name in lower case."""

    thousands: str
    decimal: str
    clock: str
    """The format of a time of day, for `strftime`."""
    periods: dict[Resolution, str]
    """The format of a day, a month and a year, for `strftime`."""
    phrases: dict[str, str]
    emissions: dict[str, str]
    """The meaning of each emission."""
    names: dict[str, str]
    """The name of each emission."""
    technologies: dict[str, str]


_ENGLISH = Words(
    thousands=",",
    decimal=".",
    clock="%H:%M",
    periods={Resolution.DAY: "%Y-%m-%d", Resolution.MONTH: "%Y-%m", Resolution.YEAR: "%Y"},
    phrases={
        "title": "Environment declaration",
        "subtitle": "for electricity consumed from {begin} to {end}",
        "issuer": "Issued by",
        "issued": "Issued",
        "id": "Document",
        "period": "Period",
        "moment": "{day} {clock}",
        "zone": "Times are UTC{offset} all through, without summer time. 24:00 is midnight at the "
        "end of the day.",
        "consumed": "consumed",
        "nearly": "nearly {amount}",
        "covered_none": "covered: no guarantees of origin were retired for it",
        "covered": "{amount} covered, hour by hour, by guarantees of origin that were retired for it",
        "carbon": "of CO₂ for each kWh; the general declaration has {general}",
        "technologies": "Where the electricity came from",
        "individual": "Individual declaration",
        "individual_short": "Individual",
        "bars": "Individual above, general below",
        "general_short": "General",
        "individual_what": "This consumption: retired guarantees of origin, and for the rest the "
        "residual mix of the same hour and price area",
        "general": "General declaration",
        "general_what": "The residual mix itself in the same hours: electricity that no guarantee "
        "of origin speaks for",
        "technology": "Technology",
        "share": "Share",
        "other": "Other",
        "points": "Metering points",
        "more_points": "and {count} more, for which this document's number stands as well",
        "emissions": "What it emitted",
        "emission": "Emission",
        "per_kwh": "g/kWh",
        "in_all": "In all",
        "meaning": "What it means",
        "more_emissions": "{count} more emissions are in the data, and not shown here.",
        "coverage": "How much was covered, hour by hour",
        "coverage_none": "None of it: no guarantees of origin were retired for this consumption.",
        "bars_of": "Each bar is {period}: its height is what was consumed, the dark part what was "
        "covered by retired guarantees of origin. The highest is {peak}.",
        "coverage_carpet": "Each column is {days}, each row an hour of the day. "
        "The darker, the more of the consumption was covered by retired "
        "guarantees of origin.",
        "hour": "an hour",
        "day": "a day",
        "month": "a month",
        "year": "a year",
        "days": "{count} days",
        "none": "none",
        "up_to": "up to {percent} %",
        "below_all": "almost all",
        "all": "all",
        "hours": "{full} of {hours} hours with consumption were covered in full, {part} in part, and "
        "{none} not at all.",
        "bar_uncovered": "not covered",
        "bar_covered": "covered",
        "by_hour": "Hour by hour",
        "by_day": "Day by day",
        "by_month": "Month by month",
        "by_year": "Year by year",
        "rows_are": "Each row of this table is {period}.",
        "period_covered": "Covered",
        "period_consumed": "Consumed",
        "alt_bars": "Consumption, and the part of it that retired guarantees of origin cover. {text}",
        "method": "How this was computed",
        "method_hours": "Everything is computed for each hour and then summed. In an hour, retired "
        "guarantees of origin (GGOs: one hour of one production meter's electricity) count with "
        "their own technology and emissions, up to what was measured. What they leave uncovered "
        "comes from the residual mix of that hour and price area, in its proportions.",
        "method_sources": "Measurements are DataHub's, the residual mix is the energy type "
        "service's, the guarantees of origin are those retired to the metering points on the "
        "ledger, or on their way there. Hours with consumption for which no residual mix was known "
        "are left out of both declarations{left_out}.",
        "left_out": "; here these are {count}",
        "method_id": "The document's number is a digest of the question and of every hour's "
        "figures: the same declaration always has the same number.",
        "empty": "Nothing was consumed in this period, or no residual mix is known for it. So there "
        "is nothing to declare.",
        "alt_coverage": "Share of each hour's consumption that retired guarantees of origin cover. "
        "{summary}",
        "page": "Page {page} of {pages}",
    },
    emissions={
        "co2": "Carbon dioxide, the greenhouse gas that warms the climate the most",
        "ch4": "Methane, a strong greenhouse gas that lasts some ten years",
        "n2o": "Nitrous oxide, a strong and lasting greenhouse gas",
        "so2": "Sulphur dioxide, which makes rain acid",
        "nox": "Nitrogen oxides, which make smog and acid rain",
        "co": "Carbon monoxide, a poisonous gas of incomplete burning",
        "nmvoc": "Volatile organic compounds, which form ozone near the ground",
        "particles": "Fine dust, which harms lungs and hearts",
        "flyash": "Ash caught from the smoke, mostly reused in concrete",
        "slag": "Ash left in the furnace, mostly reused in roads",
        "desulphurisation": "Gypsum and the like from cleaning the smoke of sulphur",
        "waste": "Radioactive and other waste that must be kept safe",
    },
    names={
        **_FORMULAS,
        "particles": "Particles",
        "flyash": "Fly ash",
        "slag": "Slag",
        "desulphurisation": "Desulphurisation",
        "waste": "Waste",
    },
    technologies={"naturalgas": "Natural gas"},
)

_DANISH = Words(
    thousands=".",
    decimal=",",
    clock="%H.%M",
    periods={Resolution.DAY: "%d.%m.%Y", Resolution.MONTH: "%m.%Y", Resolution.YEAR: "%Y"},
    phrases={
        "title": "Miljødeklaration",
        "subtitle": "for elektricitet forbrugt fra {begin} til {end}",
        "issuer": "Udstedt af",
        "issued": "Udstedt",
        "id": "Dokument",
        "period": "Periode",
        "moment": "{day} kl. {clock}",
        "zone": "Tider er UTC{offset} hele vejen, uden sommertid. Kl. 24.00 er midnat, når døgnet "
        "slutter.",
        "consumed": "forbrugt",
        "nearly": "næsten {amount}",
        "covered_none": "dækket: ingen oprindelsesgarantier er annulleret til forbruget",
        "covered": "{amount} dækket, time for time, af oprindelsesgarantier annulleret til forbruget",
        "carbon": "CO₂ for hver kWh; den generelle deklaration har {general}",
        "technologies": "Hvor elektriciteten kom fra",
        "individual": "Individuel deklaration",
        "individual_short": "Individuel",
        "bars": "Individuel øverst, generel nederst",
        "general_short": "Generel",
        "individual_what": "Dette forbrug: annullerede oprindelsesgarantier, og for resten "
        "restmikset i samme time og prisområde",
        "general": "Generel deklaration",
        "general_what": "Selve restmikset i de samme timer: elektricitet, som ingen "
        "oprindelsesgaranti står for",
        "technology": "Teknologi",
        "share": "Andel",
        "other": "Andet",
        "points": "Målepunkter",
        "more_points": "og {count} flere, som dokumentets nummer også står for",
        "emissions": "Hvad der blev udledt",
        "emission": "Udledning",
        "per_kwh": "g/kWh",
        "in_all": "I alt",
        "meaning": "Hvad det betyder",
        "more_emissions": "{count} flere udledninger findes i data og er ikke vist her.",
        "coverage": "Hvor meget der var dækket, time for time",
        "coverage_none": "Intet: ingen oprindelsesgarantier er annulleret til dette forbrug.",
        "bars_of": "Hver søjle er {period}: højden er forbruget, den mørke del er dækket af "
        "annullerede oprindelsesgarantier. Den højeste er {peak}.",
        "coverage_carpet": "Hver kolonne er {days}, hver række en time på døgnet. "
        "Jo mørkere, jo mere af forbruget var dækket af annullerede oprindelsesgarantier.",
        "hour": "en time",
        "day": "et døgn",
        "month": "en måned",
        "year": "et år",
        "days": "{count} døgn",
        "none": "intet",
        "up_to": "op til {percent} %",
        "below_all": "næsten alt",
        "all": "alt",
        "hours": "{full} af {hours} timer med forbrug var helt dækket, {part} delvist og {none} "
        "slet ikke.",
        "bar_uncovered": "ikke dækket",
        "bar_covered": "dækket",
        "by_hour": "Time for time",
        "by_day": "Dag for dag",
        "by_month": "Måned for måned",
        "by_year": "År for år",
        "rows_are": "Hver række i denne tabel er {period}.",
        "period_covered": "Dækket",
        "period_consumed": "Forbrugt",
        "alt_bars": "Forbruget, og den del af det, som annullerede oprindelsesgarantier dækker. {text}",
        "method": "Sådan er det beregnet",
        "method_hours": "Alt er beregnet for hver time og derefter lagt sammen. I en time tæller "
        "annullerede oprindelsesgarantier (GGO'er: en times elektricitet fra én produktionsmåler) "
        "med deres egen teknologi og udledning, op til det målte forbrug. Det, som de ikke dækker, "
        "kommer fra restmikset i den time og det prisområde, i dets blandingsforhold.",
        "method_sources": "Målingerne er DataHubs, restmikset er energitypetjenestens, og "
        "oprindelsesgarantierne er dem, der er annulleret til målepunkterne i registret eller er på "
        "vej dertil. Timer med forbrug, som der intet kendt restmiks er for, er udeladt af begge "
        "deklarationer{left_out}.",
        "left_out": "; her er det {count}",
        "method_id": "Dokumentets nummer er et fingeraftryk af spørgsmålet og af hver times tal: den "
        "samme deklaration har altid samme nummer.",
        "empty": "Intet blev forbrugt i denne periode, eller der kendes intet restmiks for den. Der "
        "er derfor intet at deklarere.",
        "alt_coverage": "Andelen af hver times forbrug, som annullerede oprindelsesgarantier dækker. "
        "{summary}",
        "page": "Side {page} af {pages}",
    },
    emissions={
        "co2": "Kuldioxid, den drivhusgas, der opvarmer klimaet mest",
        "ch4": "Metan, en kraftig drivhusgas, der varer omkring ti år",
        "n2o": "Lattergas, en kraftig og langlivet drivhusgas",
        "so2": "Svovldioxid, som gør regnen sur",
        "nox": "Kvælstofilter, som giver smog og sur regn",
        "co": "Kulilte, en giftig gas fra ufuldstændig forbrænding",
        "nmvoc": "Flygtige organiske forbindelser, som danner ozon ved jorden",
        "particles": "Fint støv, som skader lunger og hjerter",
        "flyash": "Aske fanget i røgen, for det meste genbrugt i beton",
        "slag": "Aske fra ovnen, for det meste genbrugt i veje",
        "desulphurisation": "Gips og lignende fra rensning af røgen for svovl",
        "waste": "Radioaktivt og andet affald, som skal opbevares sikkert",
    },
    names={
        **_FORMULAS,
        "particles": "Partikler",
        "flyash": "Flyveaske",
        "slag": "Slagge",
        "desulphurisation": "Afsvovlingsprodukt",
        "waste": "Affald",
    },
    technologies={
        "biogas": "Biogas",
        "biomass": "Biomasse",
        "coal": "Kul",
        "hydro": "Vandkraft",
        "marine": "Havenergi",
        "naturalgas": "Naturgas",
        "nuclear": "Kernekraft",
        "oil": "Olie",
        "solar": "Sol",
        "waste": "Affald",
        "wind": "Vind",
        "unknown": "Ukendt",
    },
)

WORDS: dict[Language, Words] = {"en": _ENGLISH, "da": _DANISH}
