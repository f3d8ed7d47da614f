"""The market of the trading tests, watched as operators watch it."""

from tests.integration.trading.conftest import market, new_market, sandbox

__all__ = ["market", "new_market", "sandbox"]
