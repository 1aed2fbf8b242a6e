# Completion of roomlog for bash, made by `roomlog completions bash`.

# What may follow a command: its actions, or its words and flags, these with what their values are.
_roomlog_table() {
    actions='' words='' options=''
    case $1 in
@TABLE@
    esac
}

# Offers what a value may be, in small letters what it is, in capitals what it is of.
_roomlog_offer() {
    local part line
    for part in ${1//|/ }; do
        case $part in
        DIR | FILE)
            compopt -o filenames 2>/dev/null
            local kind=-f
            [[ $part == DIR ]] && kind=-d
            while IFS='' read -r line; do
                COMPREPLY+=("$line")
            done < <(compgen "$kind" -- "$2")
            ;;
        *[[:upper:]]*) ;;
        *) [[ $part == "$2"* ]] && COMPREPLY+=("$part") ;;
        esac
    done
}

_roomlog() {
    local IFS=$' \t\n' actions words options flag='' glued='' place=0 index token
    local path=@DEFAULT@ current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    _roomlog_table "$path"
    for ((index = 1; index < COMP_CWORD; index++)); do
        token=${COMP_WORDS[index]}
        if [[ $token == '=' ]]; then
            continue # stands between a flag and its value
        elif [[ -n $token && -z ${token//:/} ]]; then
            flag='' glued=yes # bash takes addresses and URLs apart at their colons
        elif [[ -n $glued ]]; then
            glued=''
        elif [[ -n $flag ]]; then
            flag='' # this was its value
        elif [[ $token == -* ]]; then
            [[ " $options " == *" $token:"* ]] && flag=$token
        elif ((index == 1)); then
            path=$token
            _roomlog_table "$path"
        elif [[ -n $actions ]]; then
            path+=" $token"
            _roomlog_table "$path"
        else
            place=$((place + 1))
        fi
    done

    if [[ -n $glued || ($current == :*) ]]; then
        return
    fi
    [[ $current == '=' ]] && current=''
    if [[ -n $flag ]]; then
        token=" $options "
        token=${token#*" $flag:"}
        _roomlog_offer "${token%% *}" "$current"
    elif [[ $current == -* ]]; then
        for token in $options; do
            _roomlog_offer "${token%%:*}" "$current"
        done
    elif ((COMP_CWORD == 1)); then
        _roomlog_offer '@COMMANDS@' "$current"
    elif [[ -n $actions ]]; then
        _roomlog_offer "$actions" "$current"
    else
        for token in $words; do
            ((place-- == 0)) && _roomlog_offer "$token" "$current"
        done
    fi
}

complete -F _roomlog roomlog
