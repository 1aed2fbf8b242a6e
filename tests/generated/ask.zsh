# What zsh offers at a terminal: ask.zsh FOLDER LINE..., where the folder has the script as _roomlog. An inner shell, on a
# pseudo-terminal, loads it as it would at start, gets each line typed and lists; the keys behind that tell when it has.
zmodload zsh/zpty || exit 3
zpty inner 'TERM=dumb zsh -f -i'
zpty -w inner "PROMPT=; RPROMPT=; stty -echo cols 200 rows 500; LISTMAX=0; unsetopt prompt_sp
fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' list-separator '#'
all-done() { BUFFER=; print -r -- '<do''ne>' }; zle -N all-done
bindkey '^X^L' list-choices; bindkey '^X^E' all-done
print -r -- '<re''ady>'"
zpty -r inner text '*<ready>*'
shift
for line in "$@"; do
    zpty -w -n inner "$line"$'\C-x\C-l\C-x\C-e'
    zpty -r inner text '*<done>*'
    print -r -- "$text"
done
zpty -d inner
