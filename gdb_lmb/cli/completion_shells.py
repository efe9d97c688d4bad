# SPDX-License-Identifier: GPL-2.0-or-later
"""The completion of a command line as a script for bash, zsh and fish; nothing but the shell itself is needed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

FILE, PROGRAM, NOTHING = "file", "program", "nothing"
"""What the shell offers for an argument besides words: files, programs on the PATH, or nothing."""


class Argument(NamedTuple):
    """One option, or a positional argument where `flags` is empty; `words` are offered for its value."""

    flags: tuple[str, ...]
    takes_value: bool
    words: tuple[str, ...]
    kind: str
    label: str
    help: str


class Command(NamedTuple):
    """One command; `gdb_commands` are offered after `--`, none where the command does not take any."""

    name: str
    help: str
    arguments: tuple[Argument, ...]
    gdb_commands: tuple[str, ...]

    @property
    def options(self) -> list[Argument]:
        """Return the options."""
        return [argument for argument in self.arguments if argument.flags]

    @property
    def positional(self) -> list[Argument]:
        """Return the positional arguments in their order."""
        return [argument for argument in self.arguments if not argument.flags]


# -- bash -------------------------------------------------------------------------------------------

_BASH_HEAD = """\
# bash completion for gdb-lmb, written by: gdb-lmb completion bash

# Adds the words of $1 that begin like the word at the cursor.
_gdb_lmb_words() {
\tmapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# Adds files; also those of a socket's path.
_gdb_lmb_files() {
\t[ ${#COMPREPLY[@]} -gt 0 ] || compopt -o filenames 2>/dev/null
\tmapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${cur#unix:}")
}

_gdb_lmb_programs() {
\tmapfile -t COMPREPLY < <(compgen -c -- "$cur")
\t_gdb_lmb_files
}

# What bash takes for a word ends at each ":" and "=": it wants only what comes after the last one.
_gdb_lmb_trim() {
\tlocal before=
\tif [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]]; then
\t\tbefore=${cur%"${cur##*:}"}
\t\tCOMPREPLY=("${COMPREPLY[@]#"$before"}")
\telif [[ -n $option && $COMP_WORDBREAKS != *=* ]]; then
\t\tCOMPREPLY=("${COMPREPLY[@]/#/$option=}")
\tfi
\tif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]]; then
\t\tcompopt -o nospace 2>/dev/null
\tfi
}

_gdb_lmb() {
\tlocal line=${COMP_LINE:0:COMP_POINT} option='' cur prev at
\tlocal -a words
\tread -ra words <<<"$line"
\t[[ $line == *[[:space:]] ]] && words+=('')
\tCOMPREPLY=()
\tcur=${words[${#words[@]} - 1]} prev=${words[${#words[@]} - 2]}
\tif [ ${#words[@]} -le 2 ]; then
"""

_BASH_TAIL = """\
\tesac
\t_gdb_lmb_trim
}

complete -F _gdb_lmb gdb-lmb
"""


def bash(commands: Sequence[Command]) -> str:
    """Return the script for bash, from 4.0 on."""
    names = " ".join(command.name for command in commands)
    out = [_BASH_HEAD, f"\t\t_gdb_lmb_words '{names} -h --help --version'\n\t\treturn\n\tfi\n"]
    takers = "|".join(command.name for command in commands if command.gdb_commands)
    after = " ".join(dict.fromkeys(word for command in commands for word in command.gdb_commands))
    out.append(
        f"\tcase ${{words[1]}} in\n\t{takers})\n"
        '\t\tfor ((at = 2; at < ${#words[@]} - 1; at++)); do\n'
        '\t\t\tif [ "${words[at]}" = -- ]; then\n'
        f"\t\t\t\t_gdb_lmb_words '{after}'\n\t\t\t\treturn\n\t\t\tfi\n\t\tdone\n\t\t;;\n\tesac\n"
        "\tif [[ $cur == --*=* ]]; then\n\t\toption=${cur%%=*}\n\t\tprev=$option\n\t\tcur=${cur#*=}\n\tfi\n"
        "\tcase ${words[1]} in\n"
    )  # fmt: skip
    for command in commands:
        out.append(f"\t{command.name})\n\t\tcase $prev in\n")
        out += [f"\t\t{'|'.join(option.flags)}) {_bash_value(option)} ;;\n" for option in command.options
                if option.takes_value]  # fmt: skip
        flags = " ".join(flag for option in command.options for flag in option.flags)
        words = " ".join(word for argument in command.positional for word in argument.words)
        files = "; _gdb_lmb_files" if any(argument.kind == FILE for argument in command.positional) else ""
        rest = f"_gdb_lmb_words '{words}'{files}" if words else files.removeprefix("; ") or ":"
        out.append(f"\t\t*) if [[ $cur == -* ]]; then _gdb_lmb_words '{flags}'; else {rest}; fi ;;\n\t\tesac\n\t\t;;\n")
    return "".join([*out, _BASH_TAIL])


def _bash_value(option: Argument) -> str:
    if option.words:
        return f"_gdb_lmb_words '{' '.join(option.words)}'"
    return {FILE: "_gdb_lmb_files", PROGRAM: "_gdb_lmb_programs", NOTHING: ":"}[option.kind]


# -- zsh --------------------------------------------------------------------------------------------


def zsh(commands: Sequence[Command]) -> str:
    """Return the script for zsh: a file `_gdb-lmb` of $fpath, which may also be sourced."""
    out = [
        "#compdef gdb-lmb\n# zsh completion for gdb-lmb, written by: gdb-lmb completion zsh\n\n_gdb_lmb() {\n"
        "\tlocal curcontext=$curcontext state line\n\ttypeset -A opt_args\n"
        "\t_arguments -C '(- *)'{-h,--help}'[show the help]' '(- *)--version[show the version]' \\\n"
        "\t\t'1:command:->command' '*::argument:->argument'\n"
        "\tcase $state in\n\tcommand)\n\t\tlocal -a commands=(\n"
    ]
    out += [f"\t\t\t{shlex.quote(f'{command.name}:{_zsh(command.help)}')}\n" for command in commands]
    out.append("\t\t)\n\t\t_describe command commands\n\t\t;;\n\targument)\n\t\tcase $words[1] in\n")
    for command in commands:
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        specs += [f":{argument.label}:{_zsh_action(argument)}" for argument in command.positional
                  if argument.label != "GDB-ARGUMENT"]  # fmt: skip
        if command.gdb_commands:
            specs.append(f"*:gdb command:({' '.join(command.gdb_commands)})")
        elif any(argument.label == "GDB-ARGUMENT" for argument in command.positional):
            specs.append("*:gdb argument:_files")
        lines = " \\\n".join(f"\t\t\t\t{shlex.quote(spec)}" for spec in specs)
        out.append(f"\t\t{command.name})\n\t\t\t_arguments -s \\\n{lines}\n\t\t\t;;\n")
    out.append(
        "\t\tesac\n\t\t;;\n\tesac\n}\n\n"
        'if [ "${funcstack[1]}" = _gdb_lmb ] || [ "${funcstack[1]}" = _gdb-lmb ]; then\n\t_gdb_lmb "$@"\n'
        "else\n\tcompdef _gdb_lmb gdb-lmb\nfi\n"
    )
    return "".join(out)


def _zsh(text: str) -> str:
    """Return a description in which nothing ends it early."""
    return "".join(f"\\{c}" if c in "[]:\\" else c for c in text)


def _zsh_option(option: Argument) -> Iterable[str]:
    several = f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
    for flag in option.flags:
        if not option.takes_value:
            yield f"{several}{flag}[{_zsh(option.help)}]"
        else:
            # A long option takes its value after "=" or as the next word, a short one at once or as the next.
            mark = "=" if flag.startswith("--") else "+"
            yield f"{several}{flag}{mark}[{_zsh(option.help)}]:{option.label}:{_zsh_action(option)}"


def _zsh_action(argument: Argument) -> str:
    words = " ".join(word.replace(":", "\\:") for word in argument.words)
    if words and argument.kind == FILE:
        return f"{{_alternative 'files:file:_files' 'names:name:({words})'}}"
    if words:
        return f"({words})"
    return {FILE: "_files", PROGRAM: "_command_names -e", NOTHING: " "}[argument.kind]


# -- fish -------------------------------------------------------------------------------------------


def fish(commands: Sequence[Command]) -> str:
    """Return the script for fish, from 3.0 on."""
    out = [
        "# fish completion for gdb-lmb, written by: gdb-lmb completion fish\n\n"
        "# Whether the command is one of those given, and no -- comes before the cursor.\n"
        "function __gdb_lmb_in\n\tset -l words (commandline -opc)\n"
        "\ttest (count $words) -ge 2; and contains -- $words[2] $argv; and not contains -- -- $words\nend\n\n"
        "function __gdb_lmb_after\n\tset -l words (commandline -opc)\n"
        "\ttest (count $words) -ge 2; and contains -- $words[2] $argv; and contains -- -- $words\nend\n\n"
        "function __gdb_lmb_first\n\ttest (count (commandline -opc)) -eq 1\nend\n\n"
        "complete -c gdb-lmb -f\n"
        "complete -c gdb-lmb -n __gdb_lmb_first -s h -l help -d 'show the help'\n"
        "complete -c gdb-lmb -n __gdb_lmb_first -l version -d 'show the version'\n"
    ]
    for command in commands:
        inside = f"complete -c gdb-lmb -n '__gdb_lmb_in {command.name}'"
        out.append(f"complete -c gdb-lmb -n __gdb_lmb_first -a {command.name} -d {_fish(command.help)}\n")
        for option in command.options:
            names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            out.append(f"{inside} {names}{_fish_value(option)} -d {_fish(option.help)}\n")
        if any(argument.kind == FILE for argument in command.positional):
            out.append(f"{inside} -F\n")
        words = [word for argument in command.positional for word in argument.words]
        if words:
            out.append(f"{inside} -a {_fish(' '.join(words))}\n")
        if command.gdb_commands:
            after = f"complete -c gdb-lmb -n '__gdb_lmb_after {command.name}'"
            out.append(f"{after} -a {_fish(' '.join(command.gdb_commands))}\n")
    return "".join(out)


def _fish(text: str) -> str:
    """Return `text` as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_value(option: Argument) -> str:
    if not option.takes_value:
        return ""
    if option.words:
        return f" -x -a {_fish(' '.join(option.words))}"
    return {FILE: " -r -F", PROGRAM: " -x -a '(__fish_complete_command)'", NOTHING: " -x"}[option.kind]


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
