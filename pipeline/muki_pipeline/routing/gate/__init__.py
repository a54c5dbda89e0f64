"""The gate: views of a text that teach each other which teacher it is for."""
