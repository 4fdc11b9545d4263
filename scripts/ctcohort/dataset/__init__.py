"""The data set as a whole: manifest, progress, merging, verification, removal."""
