# What bash would offer: ask.bash SCRIPT WORD..., the last being completed and the words taken apart as readline does.
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
registered=$(complete -p roomlog)
[[ $registered == *'-F _roomlog roomlog' ]] || exit 1
_roomlog
for offer in "${COMPREPLY[@]}"; do
    printf '%s\n' "$offer"
done
