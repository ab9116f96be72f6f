"""`completion`: the scripts that let shells ask this program what may come next in a line."""

import click

from pachyderm_dagster.cli.names import NAMES, completion_variable

BASH = r"""
FUNCTION() {
    local line=${COMP_LINE:0:${COMP_POINT:-0}}
    [[ -n $line ]] || line="${COMP_WORDS[*]:0:COMP_CWORD+1}"
    # Bash ends words at @, : and = and replaces what comes after them only; the program answers with whole words.
    local whole=${line##*[[:space:]]} typed=${COMP_WORDS[COMP_CWORD]}
    [[ $typed == *[^@:=]* ]] || typed=
    local before=${whole%"$typed"} word help
    COMPREPLY=()
    while IFS=$'\t' read -r word help; do
        if [[ $word == FILE ]]; then
            compopt -o default 2>/dev/null
            return 0
        fi
        [[ $word != *[@:/] ]] || compopt -o nospace 2>/dev/null
        [[ $typed == [\"\']* ]] || printf -v word %q "$word"
        COMPREPLY+=("${word#"$before"}")
    done < <(VARIABLE="$line" PROGRAM 2>/dev/null)
}
complete -o nosort -F FUNCTION PROGRAM
"""
ZSH = r"""
#compdef PROGRAM
FUNCTION() {
    local -a whole shown begun
    local word help
    while IFS=$'\t' read -r word help; do
        case $word in
            (FILE) _files; return ;;
            (*[@:/]) begun+=("$word") ;;
            (*) whole+=("$word"); shown+=("$word${help:+  -- $help}") ;;
        esac
    done < <(VARIABLE="${(j: :)words[1,CURRENT-1]} $PREFIX" PROGRAM 2>/dev/null)
    (( $#begun )) && compadd -S '' -a begun
    if (( $#whole )); then
        if [[ "$shown" == *'  -- '* ]]; then compadd -l -d shown -a whole; else compadd -a whole; fi
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then FUNCTION "$@"; else compdef FUNCTION PROGRAM; fi
"""
FISH = r"""
function FUNCTION
    set -l found (VARIABLE=(commandline -cp) PROGRAM 2>/dev/null)
    if test "$found" = FILE\t
        __fish_complete_path (commandline -ct)
    else
        string join \n -- $found
    end
end
complete --no-files --keep-order --command PROGRAM --arguments '(FUNCTION)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command(epilog='Example: eval "$(pachctl completion bash)"')
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> None:
    """The shell completes commands, options and the names of what there is once it has read the script: for bash and zsh put the example into ~/.bashrc or
    ~/.zshrc (there after `compinit`), for fish `pachctl completion fish | source` into config.fish.
    """
    for name in NAMES:
        function = f"_{name.replace('-', '_')}_completion"
        click.echo(SCRIPTS[shell].strip().replace("FUNCTION", function).replace("VARIABLE", completion_variable(name)).replace("PROGRAM", name))
