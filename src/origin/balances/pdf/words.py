"""The texts of the statement of account in each language."""

from collections.abc import Mapping
from dataclasses import dataclass

from origin.declarations.pdf.words import Language


@dataclass(frozen=True)
class StatementWords:
    """The texts of a language.

    :ivar phrases: Names in braces are filled in by `origin.balances.pdf.document`.
    :ivar names: Of amounts, buckets and kinds of entries, by the wire's name.
    """

    phrases: Mapping[str, str]
    names: Mapping[str, str]


_ENGLISH = StatementWords(
    phrases={
        "title": "Account statement",
        "subtitle": "of {subject}, from {begin} to {end}",
        "issuer": "Issued by",
        "issued": "Issued",
        "id": "Document",
        "zone": "Times are those of {zone}. Energy is in Wh.",
        "page": "Page {page} of {pages}",
        "first": "the beginning",
        "held": "Wh available at the end",
        "retired": "Wh retired by the end",
        "moved": "entries in the period",
        "balance": "Balance",
        "opening": "Opening",
        "closing": "Closing",
        "change": "Change",
        "entries": "Entries",
        "entries_by_month": "Entries by month",
        "too_many": "More than {most} entries are summed up by month. CSV and XLSX have each of them.",
        "none": "There are no entries in this period.",
        "when": "Time",
        "month": "Month",
        "what": "What",
        "from_to": "From and to",
        "ggo": "Guarantee of origin",
        "whom": "Other account, reference",
        "number": "Entries",
        "amount": "Wh",
        "method": "How it adds up",
        "method_identity": (
            "What was issued and received equals what was sent, is retired, has expired, is available, "
            "is blocked, and is on its way out or being retired. What is on its way to the account "
            "stands beside it, and is received once the ledger has committed it."
        ),
        "method_entries": (
            "Each entry moves Wh from one part of the balance to another. The opening balance and the "
            "entries add up to the closing balance. An entry never changes: if the ledger refuses an "
            "order, another entry moves its Wh back."
        ),
    },
    names={
        "available": "available",
        "pendingOut": "on its way out",
        "pendingIn": "on its way in",
        "pendingRetired": "being retired",
        "retired": "retired",
        "expired": "expired",
        "blocked": "blocked",
        "outside": "outside",
        "issued": "issued",
        "received": "received",
        "sent": "sent",
        "issue": "Issued",
        "receive": "Received",
        "send": "Sent",
        "retire": "Retired",
        "expire": "Expired",
        "undo": "Refused by the ledger",
        "redo": "Committed after all",
        "correct": "Corrected",
        "opening": "Opening of the history",
    },
)
_DANISH = StatementWords(
    phrases={
        "title": "Kontoudtog",
        "subtitle": "for {subject}, fra {begin} til {end}",
        "issuer": "Udstedt af",
        "issued": "Udstedt",
        "id": "Dokument",
        "zone": "Tidspunkter er i tidszonen {zone}. Energi er i Wh.",
        "page": "Side {page} af {pages}",
        "first": "begyndelsen",
        "held": "Wh til rådighed ved udgangen",
        "retired": "Wh annulleret ved udgangen",
        "moved": "posteringer i perioden",
        "balance": "Saldo",
        "opening": "Primo",
        "closing": "Ultimo",
        "change": "Ændring",
        "entries": "Posteringer",
        "entries_by_month": "Posteringer pr. måned",
        "too_many": "Flere end {most} posteringer er lagt sammen pr. måned. CSV og XLSX har dem alle.",
        "none": "Der er ingen posteringer i perioden.",
        "when": "Tidspunkt",
        "month": "Måned",
        "what": "Hvad",
        "from_to": "Fra og til",
        "ggo": "Oprindelsesgaranti",
        "whom": "Anden konto, reference",
        "number": "Posteringer",
        "amount": "Wh",
        "method": "Sådan går det op",
        "method_identity": (
            "Udstedt og modtaget er lig med sendt, annulleret, udløbet, til rådighed, spærret, på vej "
            "ud og under annullering. Det, der er på vej til kontoen, står ved siden af og er modtaget, "
            "når ledgeren har bekræftet det."
        ),
        "method_entries": (
            "Hver postering flytter Wh fra én del af saldoen til en anden. Primosaldoen og "
            "posteringerne giver ultimosaldoen. En postering ændres aldrig: Afviser ledgeren en ordre, "
            "flytter en anden postering dens Wh tilbage."
        ),
    },
    names={
        "available": "til rådighed",
        "pendingOut": "på vej ud",
        "pendingIn": "på vej ind",
        "pendingRetired": "under annullering",
        "retired": "annulleret",
        "expired": "udløbet",
        "blocked": "spærret",
        "outside": "udenfor",
        "issued": "udstedt",
        "received": "modtaget",
        "sent": "sendt",
        "issue": "Udstedt",
        "receive": "Modtaget",
        "send": "Sendt",
        "retire": "Annulleret",
        "expire": "Udløbet",
        "undo": "Afvist af ledgeren",
        "redo": "Alligevel bekræftet",
        "correct": "Rettet",
        "opening": "Historikkens begyndelse",
    },
)
WORDS: Mapping[Language, StatementWords] = {"en": _ENGLISH, "da": _DANISH}
