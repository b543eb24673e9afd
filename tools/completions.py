#!/usr/bin/env python3
"""completions.py COMMAND FOLDER - completions of the command for bash, zsh and fish, from what its --help prints:
a subcommand's last word of the usage says what it is about (PROGRAM, PID, a file), an option's argument likewise."""
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^  (--[a-z-]+)(?: ([A-Z]\S*))?  +(\S.*)$", re.M)


def printed(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def describe(command):
    """[(subcommand, its summary, what it is about, [(option, argument or "", text)])]."""
    rows = []
    for name, summary in re.findall(r"^  ([a-z]+) +(\S.*)$", printed(command, "--help"), re.M):
        text = re.sub(r"\n {6,}(?=\S)", " ", printed(command, name, "--help"))
        subject = re.match(r"Usage: mallocgc " + name + r"(?: \[OPTIONS\])?(?: \[--\])? ?\[?([A-Z]*)", text)
        options = [(option, argument, re.split("[;:.] ", words)[0].rstrip(".,"))
                   for option, argument, words in OPTION.findall(text)]
        rows.append((name, summary, subject.group(1), options + [("--help", "", "what it does, and its options")]))
    return rows


def values(argument):
    """Words that the argument may be, or None."""
    return "text json openmetrics" if argument.startswith("FORMAT") else None


def bash(rows):
    cases = []
    for name, _, subject, options in rows:
        rest = {"PROGRAM": "_command_offset $at; return", "PID": 'COMPREPLY=($(compgen -W "$(ps -eo pid=)" -- "$word"))',
                "SIZE": ":"}.get(subject, 'COMPREPLY=($(compgen -f -- "$word"))')
        takers = [option for option, argument, _ in options if argument]
        cases.append(f"""\t{name})
\t\ttakers='{" ".join(takers)}'
\t\t_mallocgc_skip || return
\t\tcase $last in
{"".join(f'''		{option}) COMPREPLY=($(compgen {f'-W "{values(argument)}"' if values(argument) else "-f"} -- "$word")); return ;;
''' for option, argument, _ in options if argument and ("FILE" in argument))}\t\t{" | ".join(takers) or "--"}) return ;;
\t\tesac
\t\tif [[ $word == -* && $at == "$COMP_CWORD" ]]; then
\t\t\tCOMPREPLY=($(compgen -W "{" ".join(option for option, _, _ in options)}" -- "$word"))
\t\telse
\t\t\t{rest}
\t\tfi ;;
""")
    names = " ".join(name for name, *_ in rows)
    return f"""# bash completion for mallocgc; written by tools/completions.py.
# _mallocgc_skip: at = where the first word is that is no option, nor an option's argument.
_mallocgc_skip()
{{
	for ((at = 2; at < COMP_CWORD; at++)); do
		local item=${{COMP_WORDS[at]}}
		[[ $item == -- ]] && at=$((at + 1)) && break
		[[ $item == -* ]] || break
		[[ " $takers " == *" $item "* ]] && ((at + 1 < COMP_CWORD)) && at=$((at + 1))
	done
	return 0
}}
_mallocgc()
{{
	local word=${{COMP_WORDS[COMP_CWORD]}} last=${{COMP_WORDS[COMP_CWORD - 1]}} at takers
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "{names} --help --version" -- "$word"))
		return
	fi
	case ${{COMP_WORDS[1]}} in
{"".join(cases)}	esac
}}
complete -F _mallocgc mallocgc
"""


def quoted(text):
    return text.replace("\\", "\\\\").replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh(rows):
    def option_row(option, argument, text):
        action = (f"({values(argument)})" if values(argument) else "_files" if "FILE" in argument else " ")
        taken = f":{argument.lower().split('[')[0]}:{action}" if argument else ""
        return f"\t\t\t'{option}[{quoted(text)}]{taken}' \\\n"

    cases = []
    for name, _, subject, options in rows:
        rest = {"PROGRAM": "'(-)1:program:_command_names -e' '*::arguments:_normal'", "PID": "'1:process:_pids'",
                "SIZE": "'*:size: '"}.get(subject, "'1:file:_files'")
        cases.append(f"\t\t{name}) _arguments \\\n{''.join(option_row(*row) for row in options)}\t\t\t{rest} ;;\n")
    names = "".join(f"\t\t\t'{name}:{quoted(summary)}'\n" for name, summary, *_ in rows)
    return f"""#compdef mallocgc
# zsh completion for mallocgc; written by tools/completions.py.
_mallocgc()
{{
	local context state state_descr line
	typeset -A opt_args
	_arguments -C '(- *)--help[what it does]' '(- *)--version[its version]' '1:command:->command' '*::word:->word'
	case $state in
	command)
		local -a commands=(
{names}		)
		_describe command commands ;;
	word)
		case $words[1] in
{"".join(cases)}		esac ;;
	esac
}}
_mallocgc "$@"
"""


def fish_text(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish(rows):
    lines = ["# fish completion for mallocgc; written by tools/completions.py.",
             "complete -c mallocgc -f",
             "complete -c mallocgc -n __fish_use_subcommand -l help -d 'what it does'",
             "complete -c mallocgc -n __fish_use_subcommand -l version -d 'its version'"]
    for name, summary, subject, options in rows:
        here = f"-n '__fish_seen_subcommand_from {name}'"
        lines.append(f"complete -c mallocgc -n __fish_use_subcommand -a {name} -d {fish_text(summary)}")
        for option, argument, text in options:
            more = "" if not argument else " -x" if "FILE" not in argument else " -r"
            if values(argument):
                more = f" -x -a '{values(argument)}'"
            elif more == " -r":
                more = " -r -F"
            lines.append(f"complete -c mallocgc {here} -l {option[2:]}{more} -d {fish_text(text)}")
        rest = {"PROGRAM": "-x -a '(__fish_complete_subcommand --fcs-skip=2)'", "PID": "-x -a '(__fish_complete_pids)'",
                "SIZE": "-f"}.get(subject, "-F")
        lines.append(f"complete -c mallocgc {here} {rest}")
    return "\n".join(lines) + "\n"


def main():
    command, folder = sys.argv[1:]
    rows = describe(command)
    if not rows:
        sys.exit(f"completions.py: {command} --help names no subcommand")
    for name, make in (("mallocgc.bash", bash), ("_mallocgc", zsh), ("mallocgc.fish", fish)):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(make(rows))


if __name__ == "__main__":
    main()
