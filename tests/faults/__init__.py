"""Kills, full disks, flipped bits, races: `make faults` runs the campaign; a short part of it runs with the tests."""
