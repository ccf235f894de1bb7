"""Measures Vigil against its floors. Run by scripts/bench."""
