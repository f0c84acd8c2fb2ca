#!/usr/bin/env bash
# Whether two builds write the same bytes: delta_max.csv and certificates of every method, with attack and without, and of
# branch and bound, on each network. For changes that are to move code and nothing else.
#
#     tests/manual/same_radii.sh OLD_BINARY NEW_BINARY DATA MODEL.onnx...
#
# DATA and models as for benches/peers. IMAGES is the number of images, 24 unless set.
set -euo pipefail

old=$(realpath "${1:?usage: same_radii.sh OLD_BINARY NEW_BINARY DATA MODEL.onnx...}")
new=$(realpath "${2:?no second binary}")
data=$(realpath "${3:?no data}")
shift 3
models=()
for model in "$@"; do models+=("$(realpath "$model")"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The columns that every version writes.
rows() { cut -d, -f1-11 "$1/delta_max.csv"; }

differ=0
for model in "${models[@]}"; do
    for flags in "--method ibp" "--method crown-ibp" "--method crown --certificates 5" "--method alpha --certificates 5" \
        "--method crown --no-attack --runtime any-f32" "--method alpha --branch 200 --certificates 5"; do
        for build in old new; do
            # shellcheck disable=SC2086
            nice "${!build}" certify --device cpu --quiet --model "$model" --data "$data" --limit "${IMAGES:-24}" $flags \
                --out "$build" 2>"$build.txt" || true
        done
        what="$(basename "$model") $flags"
        if [ -e old/delta_max.csv ] && cmp -s <(rows old) <(rows new) &&
            { [ ! -d old/certificates ] || diff -rq old/certificates new/certificates >/dev/null; }; then
            echo "same    $what"
        elif [ ! -e old/delta_max.csv ] && [ ! -e new/delta_max.csv ] && cmp -s old.txt new.txt; then
            echo "refused $what"
        else
            echo "DIFFERS $what"
            differ=1
        fi
        rm -rf old new
    done
done
exit $differ
