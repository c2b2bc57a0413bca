"""Rubrics: criteria, scales, anchors and steps in YAML. One file drives the LLM judge and the human rating sheet."""
