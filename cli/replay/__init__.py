"""`parley replay`: a recording of a call, sent through a door again, and what comes back compared with what came then."""
