"""What runs the course: its environment's doctor, JupyterLab, the learner's copies, executing, deriving, proving."""
