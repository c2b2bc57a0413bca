"""COMET: learned metrics of translation quality, read from their published checkpoints and run without their package."""
