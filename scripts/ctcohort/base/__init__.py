"""What every room needs: errors, atomic files, names, reasons, privacy."""
