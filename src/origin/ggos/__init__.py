"""An account's GGOs: listing, summaries, totals, transfers' summaries."""
