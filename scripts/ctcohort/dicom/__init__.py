"""One DICOM instance: its header, whether it is complete, its stored pixel values."""
