"""What task folders written for lm-eval import from it, so that their functions run where lm-eval is not installed.

The names are those that lm-eval's own 543 function modules use, and their nearest kin. Everything here is written for
evalkit and behaves as its namesake does; `importer` puts it in place, for the task folder's modules alone.
"""
