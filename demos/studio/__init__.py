"""The studio: an agent watched while it thinks with images, and taken by the pen."""
