"""The data set without identity, and the guard that searches for identifiers."""
