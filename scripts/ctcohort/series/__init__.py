"""The choice of one series per accession, and its download, complete or not at all."""
