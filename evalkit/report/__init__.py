"""The report: records to a view model to HTML and CSV."""
