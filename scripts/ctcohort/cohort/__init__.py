"""The wanted accessions: the report table, exclusions, merged MRNs, reviews, splits."""
