"""Request handling that all views share."""
