"""One DICOM instance: its header, whether it is whole, its pixels in Hounsfield units."""
