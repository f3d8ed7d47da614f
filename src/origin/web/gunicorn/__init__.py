"""The web server's configuration and worker."""
