"""The studies of the source papers, run again. It may import everything; only the command line imports it."""
