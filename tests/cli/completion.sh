#!/bin/bash
# Completion: every command and option that help shows, in every shell's script; what bash and fish make of it.
. "$(dirname "$0")/helper.sh"

for shell in bash zsh fish; do
    "$moeq" completion $shell > "$work/moeq.$shell" || fail "completion $shell"
done
usage "" "expected: moeq completion bash|zsh|fish" completion csh
usage "" "expected: moeq completion bash|zsh|fish" completion

commands=$("$moeq" --help | awk '/^commands:/ {on = 1; next} on && NF == 0 {exit} on {print $1}')
[ "$(wc -w <<< "$commands")" -ge 12 ] || fail "commands: $commands"

# complete WORD...: what bash completes the last word to
complete_bash() {
    bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moeq; echo ${COMPREPLY[@]}' bash "$work/moeq.bash" moeq "$@"
}
for command in $commands; do
    shown=$("$moeq" $command --help | grep -oE '^  (-[a-z], |    )--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort -u)
    [ "$(complete_bash $command -- | tr ' ' '\n' | sort)" = "$shown" ] || fail "bash: options of $command"
    for option in $shown; do
        grep -qF -- "'__fish_seen_subcommand_from $command' -l ${option#--} " "$work/moeq.fish" || fail "fish: $command $option"
        sed -n "/^ *$command) _arguments/,/;;\$/p" "$work/moeq.zsh" | grep -qF -- "$option[" || fail "zsh: $command $option"
    done
    complete_bash "${command:0:3}" | grep -qw "$command" || fail "bash: $command"
done
[ "$(complete_bash convert DIR --level iq4)" = "iq4_nl iq4_xs" ] || fail "bash: levels"
[ "$(complete_bash convert DIR --effort '' | tr ' ' '\n' | sort | paste -sd' ')" = "best calibrated default" ] || fail "bash: efforts"
[ -z "$(complete_bash convert DI)" ] || fail "bash: files are its own to complete"
if command -v zsh > /dev/null; then
    zsh -n "$work/moeq.zsh" || fail "zsh does not read its script"
fi
if command -v fish > /dev/null; then
    [ "$(fish -c "source '$work/moeq.fish'; complete -C 'moeq convert x --level iq4'" | cut -f 1 | paste -sd' ')" = "iq4_nl iq4_xs" ] ||
        fail "fish: levels"
fi

finish
