"""What a person looks at: `plots` draws and shows figures, `explorer` (lesson 01) and `objectives` (lesson 06)
are the figures that answer clicks."""
