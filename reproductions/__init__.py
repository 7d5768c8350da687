"""Studies of the method: tasks x methods x seeds, run with the package's command and analysed from committed results.

`python -m reproductions run STUDY` and `python -m reproductions analyse STUDY`; see `README.md` here.
"""
