"""The check of the settings, and the doctor's way to run if some of them are wrong."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from origin.doctor.rules import Check, Finding, fail, ok, warn
from origin.doctor.service.doctor import Doctor
from origin.settings import Settings, WrongSettings

_NAME = "settings"
_RISKS = {
    "tls_verify": (False, "TLS_VERIFY=0: certificates of peers are not checked. Remove it."),
    "debug": (True, "DEBUG=1 is for development. Remove it."),
    "webhook_allow_private": (
        True,
        "WEBHOOK_ALLOW_PRIVATE=1: subscribers can reach servers inside your network. Remove it.",
    ),
    "recovery_mode": (
        True,
        "RECOVERY_MODE=1: composes, imports, signing and posting are suspended until it is removed.",
    ),
}
"""For each setting: the value that is warned of, and the warning."""

_URL = "http://stand-in.invalid"
_STAND_INS = {
    "service_name": "doctor",
    "secret": "stands in for a secret",
    "cors_origins": "",
    "project_url": _URL,
    "datahub_service_url": _URL,
    "ledger_url": _URL,
    "energy_type_service_url": _URL,
    "webhook_secret": "stands in for a secret",
    "hydra_url": _URL,
    "hydra_introspect_url": _URL,
    "hydra_client_id": "nobody",
    "hydra_client_secret": "stands in for a secret",
    "redis_host": "stand-in.invalid",
    "redis_port": "1",
    "redis_cache_db": "0",
    "redis_broker_db": "0",
    "redis_backend_db": "0",
    "database_uri": "postgresql://stand-in.invalid/nothing",
}
"""Values of the settings that have no default. No check uses them (`Check.needs`)."""
_OF_REDIS = frozenset(name for name in Settings.model_fields if name.startswith("redis_"))
"""These are valid or wrong together, and each check of Redis needs all of them."""


@dataclass(frozen=True)
class SettingsCheck:
    """Makes the check of valid settings."""

    settings: Settings

    def check(self) -> Check:
        """Return the check."""
        return Check(_NAME, self._run)

    def _run(self) -> Iterator[Finding]:
        warnings = [
            *(
                f"{weakness}. Choose a long random one."
                for weakness in self.settings.weak_secrets()
            ),
            *(
                text
                for name, (risk, text) in _RISKS.items()
                if getattr(self.settings, name) is risk
            ),
        ]
        yield from (warn(_NAME, text) for text in warnings)
        if not warnings:
            yield ok(_NAME, "All variables are valid, and no secret is weak.")


def with_wrong_settings(doctor: Doctor, reason: str, wrong: Collection[str]) -> Doctor:
    """Return a doctor whose checks run if they need none of the wrong settings.

    :param doctor: A doctor with the settings of `with_stand_ins`.
    :param reason: Names every variable that is missing or wrong, without values.
    """
    told = fail(_NAME, f"{reason} (doc/operations/variables.md).")
    others = [each.without(wrong) for each in doctor.checks if each.name != _NAME]
    return Doctor([Check(_NAME, lambda: [told]), *others])


def with_stand_ins(values: Mapping[str, str]) -> tuple[Settings, frozenset[str]]:
    """Return valid settings, with stand-ins for the wrong ones, and the names of the wrong ones.

    :param values: The environment, by names in lower case.
    """
    wrong: frozenset[str] = frozenset()
    while True:
        right = {
            name: value
            for name, value in values.items()
            if not {name, name.removesuffix("_file")} & wrong
        }
        stand_ins = {name: text for name, text in _STAND_INS.items() if name in wrong}
        try:
            return Settings.of({**right, **stand_ins}), wrong
        except WrongSettings as error:
            # A value may be wrong only because of another one: then a second round finds it.
            if error.names <= wrong:
                raise
            wrong |= error.names
            if wrong & _OF_REDIS:
                wrong |= _OF_REDIS
