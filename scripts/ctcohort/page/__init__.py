"""What a person looks at: pictures of scans and the page of the data set."""
