"""Which accessions are wanted: the report table, exclusions, merged MRNs, reviews, splits."""
