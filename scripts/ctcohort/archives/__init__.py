"""Where the DICOM files are: a folder, DICOMweb or DIMSE behind one protocol."""
