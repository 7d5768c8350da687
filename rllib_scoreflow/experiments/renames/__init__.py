"""What Ray renamed, moved or removed since the command was its own: tables by kind, each old name with what is now.

`config_keys` and `model_keys` are of an experiment's ``config:``, `results` of stop keys, metrics and checkpoint
scores, `environments` of ids and classes, `command_options` of the command line.
"""
