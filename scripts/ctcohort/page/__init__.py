"""Pictures of scans, and the page of the data set."""
