#compdef roomlog
# Completion of roomlog for zsh, made by `roomlog completions zsh`.

_roomlog() {
    local curcontext=$curcontext state line command=@DEFAULT@
    local -a commands actions specs
    local -A opt_args

    if [[ $words[2] != -* ]]; then
        if (( CURRENT == 2 )); then
            commands=(@COMMANDS@)
            _describe -t commands command commands
            return
        fi
        command=$words[2]
        shift words
        (( CURRENT-- ))
    fi

    case $command in
@ACTIONS@
    esac
    if (( $#actions )); then
        if (( CURRENT == 2 )); then
            _describe -t actions action actions
            return
        fi
        command+=" $words[2]"
        shift words
        (( CURRENT-- ))
    fi

    specs=('(- *)'{-h,--help}'[print help]' '(- *)'{-V,--version}'[print the version]')
    case $command in
@TABLE@
        *) return 1 ;;
    esac
    _arguments $specs
}

# Completed for the first time, this file is the function; sourced, it has to be made known.
if [[ $funcstack[1] == _roomlog ]]; then
    _roomlog "$@"
else
    compdef _roomlog roomlog
fi
