"""The command line: signatures and printing only."""
