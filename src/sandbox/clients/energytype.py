"""A client for EnergyType's control calls."""

from datetime import datetime

from sandbox.clients.base import Control, Json


class EnergyTypeClient(Control):
    """EnergyType: set rows, make gaps."""

    def set_rows(self, rows: list[Json]) -> None:
        """Replace the mix of the hours and sectors of these rows (as residual-mix shows them)."""
        self._post("rows", rows)

    def hide(self, begin: datetime, end: datetime, sector: str | None = None) -> None:
        """Make a gap, `end` not included, in one sector or in all."""
        wish = {"begin": begin.isoformat(), "end": end.isoformat(), "sector": sector}
        self._post("hide", wish)

    def settings(self, *, generated: bool | None = None, times: str | None = None) -> Json:
        """Switch generated rows off or on; write times as z, offset or naive."""
        return self._post("settings", {"generated": generated, "times": times})
