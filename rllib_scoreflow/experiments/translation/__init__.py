"""Configs as earlier versions of RLlib took them, in today's keys: each translated key is used, and said once.

`keys` are plain renames; `networks`, `sampling`, `learning`, `replay`, `offline` and `output` are what needs more than
another name.
"""
