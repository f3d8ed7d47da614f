"""SQL of the adoption: the source, staging, rejections, publication, and its record."""
