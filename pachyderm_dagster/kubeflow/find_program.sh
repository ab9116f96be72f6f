# Sets `program`: that of the image.
find_program() {
    program=$1
    case $1 in */*) return 0 ;; esac
    IFS=:
    for folder in $PATH; do
        program=${folder:-.}/$1
        [ -f "$program" ] && [ -x "$program" ] && break
        program=
    done
    unset IFS
    [ -n "$program" ] || { echo "$1: not found" >&2 && return 1; }
}
