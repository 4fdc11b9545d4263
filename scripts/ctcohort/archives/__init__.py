"""Sources of DICOM files: a folder, DICOMweb or DIMSE behind one protocol."""
