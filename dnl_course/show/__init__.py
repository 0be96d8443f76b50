"""What a person looks at: `plots` draws and shows figures, `explorer` is the figure that answers clicks."""
