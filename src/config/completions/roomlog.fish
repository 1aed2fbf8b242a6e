# Completion of roomlog for fish, made by `roomlog completions fish`.

function __roomlog_is_first -d 'Whether nothing stands between roomlog and the cursor'
    test (count (commandline -opc)) -eq 1
end

function __roomlog_is_at -a place count -d 'Whether the cursor is behind this command, and so many words of it'
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l command @DEFAULT@
    if set -q tokens[1]; and not string match -q -- '-*' $tokens[1]
        set command $tokens[1]
        set -e tokens[1]
        if contains -- $command @WITH_ACTIONS@; and set -q tokens[1]
            set command "$command $tokens[1]"
            set -e tokens[1]
        end
    end
    test "$command" = "$place"; or return 1
    set -q count[1]; and test -n "$count"; or return 0

    set -l words 0
    set -l is_value no
    for token in $tokens
        if test $is_value = yes
            set is_value no
        else if not string match -q -- '-*' $token
            set words (math $words + 1)
        else if not string match -q -- '*=*' $token; and not contains -- "$command $token" @SWITCHES@
            set is_value yes
        end
    end
    test $words -eq $count
end

complete -c roomlog -f
complete -c roomlog -s h -l help -d 'print help'
complete -c roomlog -s V -l version -d 'print the version'
@LINES@
