"""History files of a data folder, read into columns."""
