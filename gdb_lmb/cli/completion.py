# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb completion`: the completion of this command line for bash, zsh and fish, made from its own parsers.

Each shell has a script with places, and what one command puts there; nothing but the shell itself is needed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gdb_lmb.arches.registry import NAMES
from gdb_lmb.cli.common import WITH_GDB_COMMANDS, CommandLine, argument, build_parser
from gdb_lmb.cli.help import topics
from gdb_lmb.kernels.cache import KERNELS
from gdb_lmb.report.statuses import ExitStatus

LMB_COMMANDS = (
    "lmb-attach", "lmb-check", "lmb-dump", "lmb-free", "lmb-map", "lmb-trace", "lmb-verdict", "lmb-whatif", "lmb-who",
)  # fmt: skip
"""What may follow `--`, besides all other commands of gdb's."""

FILE, PROGRAM, NOTHING = "file", "program", "nothing"
"""What the shell offers for an argument besides words: files, programs on the PATH, or nothing."""

_FILES = ("FILE", "VMLINUX", "TRACE", "KERNEL")
_REST = "GDB-ARGUMENT"
_EPILOG = """\
To have it in every shell:
  bash:  gdb-lmb completion bash > ~/.local/share/bash-completion/completions/gdb-lmb
         or, without the package bash-completion: gdb-lmb completion bash >> ~/.bashrc
  zsh:   gdb-lmb completion zsh > ~/.zfunc/_gdb-lmb     (a folder of $fpath, before compinit)
  fish:  gdb-lmb completion fish > ~/.config/fish/completions/gdb-lmb.fish
"""


class Argument(NamedTuple):
    """One option, or a positional argument where `flags` is empty; `words` are offered for its value."""

    flags: tuple[str, ...]
    takes_value: bool
    words: tuple[str, ...]
    kind: str
    label: str
    help: str

    def offered(self, forms: Mapping[str, str]) -> str:
        """Return what a shell offers for the value, by its `forms` for each kind, for words, and for words or files."""
        both = f"words or {self.kind}"
        form = forms[self.kind] if not self.words else forms[both] if both in forms else forms["words"]
        return form.replace("@", " ".join(self.words))


class Command(NamedTuple):
    """One command; `gdb_commands` are offered after `--`, none where the command does not take any."""

    name: str
    help: str
    options: list[Argument]
    positional: list[Argument]
    gdb_commands: tuple[str, ...]


def described(parser: argparse.ArgumentParser) -> list[Command]:
    """Return what each command of `parser` takes."""
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help for choice in subparsers._choices_actions if choice.help is not None}
    commands = []
    for name, command in subparsers.choices.items():
        found = [_argument(command, action, name) for action in command._actions]
        options, positional = [row for row in found if row.flags], [row for row in found if not row.flags]
        after = LMB_COMMANDS if name in WITH_GDB_COMMANDS else ()
        commands.append(Command(name, summaries[name], options, positional, after))
    return commands


def _argument(parser: argparse.ArgumentParser, action: argparse.Action, command: str) -> Argument:
    label = action.metavar if isinstance(action.metavar, str) else action.dest
    words: tuple[str, ...] = tuple(str(choice) for choice in action.choices or ())
    if action.dest == "arch":
        words = NAMES
    elif label == "TOPIC":
        words = tuple(topics())
    elif label == "STUB":
        words = ("unix:", "tcp:")
    elif not action.option_strings and command in WITH_GDB_COMMANDS and label in ("KERNEL", "VMLINUX"):
        words = tuple(KERNELS)
    kind = PROGRAM if label == "BIN" else FILE if label in _FILES or action.nargs == argparse.REMAINDER else NOTHING
    told = parser._get_formatter()._expand_help(action) if action.help else ""
    return Argument(tuple(action.option_strings), action.nargs != 0, words, kind, label, " ".join(told.split()))


# -- bash, from 4.0 on ------------------------------------------------------------------------------

_IN_BASH = {"words": "_gdb_lmb_words '@'", FILE: "_gdb_lmb_files", PROGRAM: "_gdb_lmb_programs", NOTHING: ":"}
_BASH = """\
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
\t\t_gdb_lmb_words '@names@-h --help --version'
\t\treturn
\tfi
\tcase ${words[1]} in
\t@takers@)
\t\tfor ((at = 2; at < ${#words[@]} - 1; at++)); do
\t\t\tif [ "${words[at]}" = -- ]; then
\t\t\t\t_gdb_lmb_words '@after@'
\t\t\t\treturn
\t\t\tfi
\t\tdone
\t\t;;
\tesac
\tif [[ $cur == --*=* ]]; then
\t\toption=${cur%%=*}
\t\tprev=$option
\t\tcur=${cur#*=}
\tfi
\tcase ${words[1]} in
@commands@\tesac
\t_gdb_lmb_trim
}

complete -F _gdb_lmb gdb-lmb
"""


def _bash(command: Command) -> Iterator[str]:
    yield f"\t{command.name})\n\t\tcase $prev in\n"
    for option in command.options:
        if option.takes_value:
            yield f"\t\t{'|'.join(option.flags)}) {option.offered(_IN_BASH)} ;;\n"
    flags = " ".join(flag for option in command.options for flag in option.flags)
    words = " ".join(word for argument in command.positional for word in argument.words)
    files = [_IN_BASH[FILE]] if any(argument.kind == FILE for argument in command.positional) else []
    rest = "; ".join([f"_gdb_lmb_words '{words}'"] * bool(words) + files) or ":"
    yield f"\t\t*) if [[ $cur == -* ]]; then _gdb_lmb_words '{flags}'; else {rest}; fi ;;\n\t\tesac\n\t\t;;\n"


# -- zsh: a file `_gdb-lmb` of $fpath, which may also be sourced -----------------------------------------

_IN_ZSH = {
    "words": "(@)", "words or file": "{_alternative 'files:file:_files' 'names:name:(@)'}",
    FILE: "_files", PROGRAM: "_command_names -e", NOTHING: " ",
}  # fmt: skip
_ZSH = """\
#compdef gdb-lmb
# zsh completion for gdb-lmb, written by: gdb-lmb completion zsh

_gdb_lmb() {
\tlocal curcontext=$curcontext state line
\ttypeset -A opt_args
\t_arguments -C '(- *)'{-h,--help}'[show the help]' '(- *)--version[show the version]' \\
\t\t'1:command:->command' '*::argument:->argument'
\tcase $state in
\tcommand)
\t\tlocal -a commands=(
@names@\t\t)
\t\t_describe command commands
\t\t;;
\targument)
\t\tcase $words[1] in
@commands@\t\tesac
\t\t;;
\tesac
}

if [ "${funcstack[1]}" = _gdb_lmb ] || [ "${funcstack[1]}" = _gdb-lmb ]; then
\t_gdb_lmb "$@"
else
\tcompdef _gdb_lmb gdb-lmb
fi
"""


def _zsh_name(command: Command) -> str:
    return f"\t\t\t{shlex.quote(f'{command.name}:{_zsh_text(command.help)}')}\n"


def _zsh(command: Command) -> Iterator[str]:
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    specs += [f":{row.label}:{_zsh_value(row)}" for row in command.positional if row.label != _REST]
    if command.gdb_commands:
        specs.append(f"*:gdb command:({' '.join(command.gdb_commands)})")
    elif any(argument.label == _REST for argument in command.positional):
        specs.append("*:gdb argument:_files")
    lines = " \\\n".join(f"\t\t\t\t{shlex.quote(spec)}" for spec in specs)
    yield f"\t\t{command.name})\n\t\t\t_arguments -s \\\n{lines}\n\t\t\t;;\n"


def _zsh_option(option: Argument) -> Iterator[str]:
    several = f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
    for flag in option.flags:
        # A long option takes its value after "=" or as the next word, a short one at once or as the next.
        mark = "" if not option.takes_value else "=" if flag.startswith("--") else "+"
        value = f":{option.label}:{_zsh_value(option)}" if option.takes_value else ""
        yield f"{several}{flag}{mark}[{_zsh_text(option.help)}]{value}"


def _zsh_value(argument: Argument) -> str:
    return argument._replace(words=tuple(word.replace(":", "\\:") for word in argument.words)).offered(_IN_ZSH)


def _zsh_text(text: str) -> str:
    # A description in which nothing ends it early.
    return "".join(f"\\{c}" if c in "[]:\\" else c for c in text)


# -- fish, from 3.0 on ------------------------------------------------------------------------------

_IN_FISH = {"words": " -x -a '@'", FILE: " -r -F", PROGRAM: " -x -a '(__fish_complete_command)'", NOTHING: " -x"}
_FISH = """\
# fish completion for gdb-lmb, written by: gdb-lmb completion fish

# Whether the command is one of those given, and no -- comes before the cursor.
function __gdb_lmb_in
\tset -l words (commandline -opc)
\ttest (count $words) -ge 2; and contains -- $words[2] $argv; and not contains -- -- $words
end

function __gdb_lmb_after
\tset -l words (commandline -opc)
\ttest (count $words) -ge 2; and contains -- $words[2] $argv; and contains -- -- $words
end

function __gdb_lmb_first
\ttest (count (commandline -opc)) -eq 1
end

complete -c gdb-lmb -f
complete -c gdb-lmb -n __gdb_lmb_first -s h -l help -d 'show the help'
complete -c gdb-lmb -n __gdb_lmb_first -l version -d 'show the version'
@commands@"""


def _fish(command: Command) -> Iterator[str]:
    inside = f"complete -c gdb-lmb -n '__gdb_lmb_in {command.name}'"
    yield f"complete -c gdb-lmb -n __gdb_lmb_first -a {command.name} -d {_fish_text(command.help)}\n"
    for option in command.options:
        names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
        value = option.offered(_IN_FISH) if option.takes_value else ""
        yield f"{inside} {names}{value} -d {_fish_text(option.help)}\n"
    if any(argument.kind == FILE for argument in command.positional):
        yield f"{inside} -F\n"
    words = [word for argument in command.positional for word in argument.words]
    if words:
        yield f"{inside} -a {_fish_text(' '.join(words))}\n"
    if command.gdb_commands:
        after = " ".join(command.gdb_commands)
        yield f"complete -c gdb-lmb -n '__gdb_lmb_after {command.name}' -a {_fish_text(after)}\n"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# -- the command ------------------------------------------------------------------------------------

_SHELLS: Mapping[str, tuple[str, Callable[[Command], str], Callable[[Command], Iterator[str]]]] = {
    "bash": (_BASH, lambda command: f"{command.name} ", _bash),
    "zsh": (_ZSH, _zsh_name, _zsh),
    "fish": (_FISH, lambda command: "", _fish),
}


def _run(arguments: argparse.Namespace) -> ExitStatus:
    commands = described(build_parser())
    script, name, lines = _SHELLS[arguments.shell]
    takers = [command for command in commands if command.gdb_commands]
    places = {
        "@names@": "".join(map(name, commands)),
        "@takers@": "|".join(command.name for command in takers),
        "@after@": " ".join(dict.fromkeys(word for command in takers for word in command.gdb_commands)),
        "@commands@": "".join(line for command in commands for line in lines(command)),
    }
    for place, text in places.items():
        script = script.replace(place, text)
    sys.stdout.write(script)
    return ExitStatus.CLEAN


COMMANDS = (
    CommandLine(
        "completion",
        _run,
        "print the completion of this command line for a shell",
        "Print a script that completes the words of gdb-lmb in a shell.",
        _EPILOG,
        (argument("shell", choices=tuple(_SHELLS), help="the shell that is to read it"),),
    ),
)
