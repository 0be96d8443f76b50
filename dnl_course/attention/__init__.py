"""The equations as functions of queries, keys and values."""
