# Runs the command once for each datum: $1 the folder that `kubeflow stage` filled, $2 the folder for the output, $3 its URI, $4 what KFP tells the task,
# $5 which share of the datums; the rest is the command. POSIX sh with mkdir, cp (on a volume ln), rm, env and sed.
set -u
export PFS_ROOT=/pfs
in=$1 out=$2 uri=$3 told=$4 share=$5
@IMPORTED@
shift @ARGUMENTS@
# What the file of a datum calls: d and f make directories and files, v the file of variables; it defines e, which runs a command with them.
d() { mkdir -p "/pfs/$1" || bad=1; }
f() {
    @FROM@
    @PLACE@ "$from" "/pfs/$2" || bad=1
}
v() { printf '%s\n' "$@" >/pfs/.env || bad=1; }
@FIND_PROGRAM@
run() {
    @RUN@
}
recover() {
    @RECOVER@
}
accepted() {
    case $1 in @ACCEPTED@) return 0 ;; esac
    return 1
}
# In a shell of its own, so that what a datum defines is gone with it. 70: not the command's fault; 71: recovered.
one() (
    bad=0
    rm -rf /pfs/* /pfs/.[!.]* && mkdir -p /pfs/out || exit 70
    . "$1"
    [ "$bad" = 0 ] || exit 70
    shift
    @CD@
    run "$@"
    code=$?
    accepted "$code" && exit 0
    case $code in 126 | 127) exit "$code" ;; esac
    recover
    accepted "$?" && exit 71
    exit "$code"
)
mkdir -p "$out/files" "$out/ended" || exit 70
failed=0
for datum in "$in/datums/$share"/*; do
    [ -e "$datum" ] || continue
    id=${datum##*/} id=${id#*-}
    # What an earlier try on the same folder did to its end.
    [ -s "$out/ended/$id" ] && continue
    rm -rf "$out/files/$id"
    one "$datum" "$@"
    code=$?
    case $code in
    0) mkdir -p "$out/files/$id" && cp -RL /pfs/out/. "$out/files/$id/" && echo SUCCESS >"$out/ended/$id" || failed=70 ;;
    71) echo RECOVERED >"$out/ended/$id" ;;
    *) echo "datum $id: the command ended with exit status $code" >&2 && failed=$code ;;
    esac
done
[ "$failed" = 0 ] || exit "$failed"
: >"$out/ended/share-$share"
# KFP's local runner takes no output artifact that the task does not tell of.
file=$(printf '%s' "$told" | sed -n 's/.*"outputFile" *: *"\([^"]*\)".*/\1/p')
if [ -n "$file" ]; then
    mkdir -p "${file%/*}" && printf '{"artifacts":{"out":{"artifacts":[{"name":"out","uri":"%s","metadata":{"pipeline":"@PIPELINE@"}}]}}}' "$uri" >"$file"
fi
