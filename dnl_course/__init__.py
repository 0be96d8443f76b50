"""From non-local means to Disentangled Non-Local networks: the helper package of the course.

The floors of the house, from the ground up (a floor imports only from the floors below it)::

    denoise, data, paths     non-local means; photographs; where the course's files are
    show                     figures and the explorer
    classroom                exercises: probes, judges, named mistakes
    workshop                 what runs the course: doctor, lab, copies, executing, proving
    cli                      the ``dnl`` command, a thin wrapper

Importing the package loads nothing else: no torch, no Jupyter, no plotting.
"""

__version__ = "0.1.0"
