"""The guard: no identifier of a patient where none may be."""
