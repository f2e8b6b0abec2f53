"""Engines: who does the tasks of long work. Owns the protocol, and the engines ``processes``, ``ray`` and ``array``."""
