"""The equations as modules."""
