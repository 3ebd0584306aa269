"""Reports of runs: one page of HTML, or a folder with CSV and PNG."""
