"""From a radiology report table to machine-learning-ready chest CT volumes.

Each module imports only modules that stand above it in this list:

============== =====================================================================
`vocabulary`   the closed lists of reasons and flags, with their meaning
`faults`       errors that a person can act on, and how a command line reports them
`hours`        when the archive may be asked
`settings`     config checking, and parameters as one canonical string
`files`        private, atomic writing
`naming`       accession <-> file name, MRN normalisation
`reports`      the report table -> the selected accessions
`reviews`      what a person found when looking at the scans
`headers`      the facts of one instance: from a file, DICOM JSON or a C-FIND answer
`geometry`     slices -> order, spacing, tilt, and the verdict on a series
`selection`    which one series of an accession
`ledger`       `series.csv`
`settled`      which scans need no job
`memory`       what a volume will take, for schedulers
`answers`      what the archive answered, kept beside the ledger
`archives`     folder, DICOMweb and DIMSE, behind one protocol
`forecast`     what fetching will take
`received`     what arrived of a series
`downloads`    one series, complete or not there
`hounsfield`   stored values -> Hounsfield units, padding
`resampling`   B-spline and linear resampling of volumes
`certificate`  what is measured on every scan before clipping
`faces`        whether a face may be in the field of view
`npz`          deterministic writing of the volume
`volumes`      raw directory -> volume and record
`splits`       train, validation and test by patient
`manifest`     one row per accession; also the status at any moment
`partitions`   parts of a cohort that independent runs make, and their merging
`progress`     how far a run is, and when it will end
`verification` whether a data set is still the one its manifest describes
`removal`      scans that left the cohort or were withdrawn
`explanation`  the whole story of one accession
`pictures`     the picture of one scan
`page`         the data set on one page: report.html
`identities`   what must not be found, and how it is spelled
`guard`        no identifier where none may be
`keytable`     under which name each accession is released
`datacard`     the release's own README
`release`      the volumes without identity
`nifti`        a volume as NIfTI
`phantoms`     synthetic CT whose truth is known, for the demo and the tests
============== =====================================================================

What Snakemake needs while it parses (`vocabulary`, `faults`, `hours`, `settings`, `files`,
`naming`, `ledger`, `settled`, `memory`) uses the standard library only.
"""

ALGORITHM_VERSION = "1"
"""Raised whenever the arrays of a volume made from the same input would change by a bit."""
