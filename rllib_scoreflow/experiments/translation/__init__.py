"""Configs as earlier versions of RLlib took them, in today's keys: each translated key is used, and said once.

`keys` are plain renames; `networks`, `sampling`, `learning`, `replay`, `offline` are what needs more than another name.
"""
