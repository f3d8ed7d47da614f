"""PDF documents: the house style (`house.typ`), and how a template becomes a PDF."""
