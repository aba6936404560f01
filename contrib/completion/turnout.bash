# turnout.bash: completion of turnoutctl and turnoutd for bash. Commands are those of the program's own table (--print-commands),
# options those of its --help, so that this file never lags behind them. bash-completion finds it under the name of each program.
# shellcheck shell=bash

# Options with a value; the word behind one of these is no command.
_turnout_takes_value() {
    [[ $1 == @(-c|-s|--config|--socket|--email|--emails|--event|--role|--ttl) ]]
}

_turnout_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# The commands that may stand where the cursor is, one a line: their words and arguments. $2: whether a process is named before them.
_turnout_commands() {
    local words arguments where whom rest
    while IFS=$'\t' read -r words arguments where whom rest; do
        if [[ $2/$whom != @(no/one|yes/all) ]]; then printf '%s %s\n' "$words" "$arguments"; fi
        # An empty field would be swallowed, as tabs are white space.
    done < <("$1" --print-commands 2>/dev/null | sed 's/\t\t/\t \t/')
}

_turnout_completion() {
    local program=${COMP_WORDS[0]} all=() typed=() named=no word i token tokens current previous choices options matches

    # bash cuts words at @ (COMP_WORDBREAKS): "@worker" comes as two.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == @ && $i -lt $COMP_CWORD ]]; then word+=${COMP_WORDS[++i]}; fi
        all+=("$word")
    done
    current=${all[-1]}
    previous=
    if [ ${#all[@]} -gt 1 ]; then previous=${all[-2]}; fi

    COMPREPLY=()
    case $previous in
    -c | --config | -s | --socket | --emails)
        _turnout_files "$current"
        return
        ;;
    --role)
        mapfile -t COMPREPLY < <(compgen -W 'participant organizer admin' -- "$current")
        return
        ;;
    --email | --event | --ttl | @worker) return ;;
    esac

    for ((i = 0; i < ${#all[@]} - 1; i++)); do
        word=${all[i]}
        if [[ $word == @worker ]] || _turnout_takes_value "$word"; then ((i++)); fi
        if [[ $word == @* ]]; then named=yes; elif [[ $word != -* ]] && ! _turnout_takes_value "$word"; then typed+=("$word"); fi
    done

    # Options of the program, and below those of the commands that are still possible.
    options=$("$program" --help 2>/dev/null | sed -n 's/^  \(-[a-z], \|    \)\(--[a-z-]*\).*/\2/p')
    choices=
    while read -ra tokens; do
        matches=yes
        for ((i = 0; i < ${#typed[@]}; i++)); do
            token=${tokens[i]:-}
            [[ $token == "${typed[i]}" || $token == [A-Z]* || "|$token|" == *"|${typed[i]}|"* ]] || matches=no
        done
        [ $matches = yes ] || continue
        if [ ${#typed[@]} -gt 0 ]; then
            options+=" $(grep -o -e '--[a-z-]*' <<<"${tokens[*]}" | tr '\n' ' ')"
        fi
        token=${tokens[${#typed[@]}]:-}
        case $token in
        FILE | FILE.*) _turnout_files "$current" ;;
        '' | -* | '['* | [A-Z]*) ;;
        *) choices+=" ${token//|/ }" ;;
        esac
    done < <(_turnout_commands "$program" $named)

    if [[ $current == -* ]]; then
        choices=$options
    elif [[ -n $choices && $named = no && ${#typed[@]} -eq 0 ]]; then
        choices+=' @worker @refresher @mailer @scheduler'
    fi
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$choices" -- "$current" | sort -u)
    # Only what is behind the cut is replaced.
    if [[ $current == @* && $COMP_WORDBREAKS == *@* ]]; then
        COMPREPLY=("${COMPREPLY[@]#@}")
    fi
}

complete -F _turnout_completion turnoutctl turnoutd
