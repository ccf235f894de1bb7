"""How Vigil's detectors are made and checked: converter, quantiser, and a reference of pre- and post-processing."""
