"""Documents for people: what they say, and how they look."""
