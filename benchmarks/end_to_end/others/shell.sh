#!/bin/sh
# usage: shell.sh PYTHON DCM2NIIX ARCHIVE TARGET: dcm2niix on each study, the largest file to 2 mm
here=$(dirname "$0")
export here
ls "$3" | xargs -P 2 -I {} sh -c '
    mkdir -p "$4/nifti/$1" &&
    "$3" -b n -z n -f %s_%p -o "$4/nifti/$1" "$5/$1" > /dev/null &&
    largest=$(ls -S "$4/nifti/$1"/*.nii | head -n 1) &&
    "$2" "$here/resampled.py" "$largest" "$4/$1.nii.gz"
    ' study {} "$1" "$2" "$4" "$3"
