"""Who is asking: tokens, their refresh and introspection, and the Hydra client."""
