"""Which series of an accession is taken, and its download, complete or not at all."""
