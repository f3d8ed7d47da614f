"""Checks of the settings, and of what they switch off."""

from collections.abc import Iterator
from dataclasses import dataclass

from origin.doctor.rules import Check, Finding, fail, ok, warn
from origin.settings import Settings

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
        "RECOVERY_MODE=1: composes, imports, signing and posting rest until it is removed.",
    ),
}
"""For each setting: the value that is warned of, and the warning."""


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


def wrong_settings(reason: str) -> Check:
    """Return the check of settings that are wrong.

    :param reason: Names every variable that is missing or wrong, without values.
    """
    return Check(_NAME, lambda: [fail(_NAME, f"{reason} (doc/operations/variables.md).")])


def not_checked(name: str) -> Check:
    """Return the check of something that can't be looked at without valid settings."""
    return Check(name, lambda: [fail(name, "Not checked: the settings are wrong.")])
