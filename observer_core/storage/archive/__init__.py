"""Closed stretches of a journal as Parquet: smaller, made for queries, and exactly the same bytes when read.

`snapshots.py` says which columns snapshot journals become, `records.py` all others, `commits.py`
the commits of both; `packs.py` finds and reads what was packed.
"""
