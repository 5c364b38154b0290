"""One patient from any files: NIfTI or slices, whatever their orientation and grey levels."""
