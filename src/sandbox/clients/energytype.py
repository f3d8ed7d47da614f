"""A client for EnergyType's control calls."""

from datetime import datetime

from sandbox.clients.base import Control, Json


class EnergyTypeClient(Control):
    """Sets rows of EnergyType's residual mix, and hides hours."""

    def set_rows(self, rows: list[Json]) -> None:
        """Replace the mix of these rows' hours and sectors; rows have the form of residual-mix."""
        self._post("rows", rows)

    def hide(self, begin: datetime, end: datetime, sector: str | None = None) -> None:
        """Hide the hours from `begin` to before `end`, in one sector or in all."""
        wish = {"begin": begin.isoformat(), "end": end.isoformat(), "sector": sector}
        self._post("hide", wish)

    def settings(self, *, generated: bool | None = None, times: str | None = None) -> Json:
        """Turn generated rows on or off, and choose how times are written: z, offset or naive."""
        return self._post("settings", {"generated": generated, "times": times})
