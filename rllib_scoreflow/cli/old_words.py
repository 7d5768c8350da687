"""What is said of words that Ray's own ``rllib`` had, and of other words that there are not."""

from pathlib import PurePath

import typer

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.renames import command_options as renames


def refuse_old_command(arguments: list[str]) -> None:
    """Refuse a command that Ray's had.

    Args:
        arguments: the words after ``rllib``.

    Raises:
        InputError: with what is in its place.
    """
    gone = renames.COMMANDS.get(arguments[0]) if arguments else None
    if gone is not None:
        raise InputError(f"there is no `rllib {arguments[0]}` any more: {gone.reason}.")


def usage_sentence(error: typer.TyperException, arguments: list[str]) -> str:
    """The sentence on words that the command cannot take.

    Args:
        error: what typer found.
        arguments: the words after ``rllib``.
    """
    option = getattr(error, "option_name", None)
    context = getattr(error, "ctx", None)
    if isinstance(option, str) and context is not None:
        command = context.command_path.partition(" ")[2]
        reason = renames.reason_for(command, option)
        if reason is not None:
            return f"{option} is no option of `rllib {command}`: {reason}."
    message = error.format_message()
    if "No such command" in message and arguments[:1] == ["train"] and len(arguments) > 1:
        file = next(
            (word for word in arguments[1:] if PurePath(word).suffix in {".yaml", ".yml", ".json", ".py"}), None
        )
        if file is not None:
            return f"{quote(file)} is a file; write `rllib train file {file}`."
    return message
