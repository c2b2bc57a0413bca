"""Rating in the browser: a small page for each annotator, on this machine, saving every rating as it is given."""
