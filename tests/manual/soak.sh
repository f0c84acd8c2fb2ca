#!/usr/bin/env bash
# Certifies for MINUTES with kills at random moments, each run going on where the last one was stopped, and records the
# memory of every process. Rows must never be lost, and memory must stay flat.
#
#     cargo build --release
#     tests/manual/soak.sh 20
#
# Linux only: it reads /proc. BINARY names another binary, SEED other moments.
set -euo pipefail

minutes=${1:?usage: soak.sh MINUTES}
here=$(cd "$(dirname "$0")/../.." && pwd)
binary=$(realpath "${BINARY:-$here/target/release/deltamax}")
RANDOM=${SEED:-1}
work=$(mktemp -d)
child=
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"

"$binary" shoes --count 2000 --size 16 --quiet --out shoes
"$binary" train --data shoes --epochs 1 --channels 4,8 --hidden 32 --device cpu --quiet --out model.onnx
certify="certify --model model.onnx --data shoes --method crown --variance 0,0.001,0.002,0.003,0.004,0.005,0.006,0.007 --device cpu --quiet"
expected=$((400 * 8))

fail() { echo "FAILED: $*"; exit 1; }

end=$((SECONDS + 60 * minutes))
kills=0 finished=0 lives=0
: >before
echo "process,seconds,MiB" >memory.csv
while [ $SECONDS -lt $end ]; do
    lives=$((lives + 1))
    # shellcheck disable=SC2086
    "$binary" $certify --resume --out proofs 2>error &
    child=$! started=$SECONDS
    life=$((5 + RANDOM % 85))
    while [ $((SECONDS - started)) -lt $life ] && [ $SECONDS -lt $end ] && kill -0 "$child" 2>/dev/null; do
        sleep 1
        kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$child/status" 2>/dev/null || true)
        [ -z "$kib" ] || echo "$lives,$((SECONDS - started)),$((kib / 1024))" >>memory.csv
    done
    if kill -9 "$child" 2>/dev/null; then
        kills=$((kills + 1))
        wait "$child" 2>/dev/null || true
        cp proofs/delta_max.csv table
        whole=$(awk 'END { print NR }' table)
        [ -z "$(tail -c 1 table | tr -d '\n')" ] || whole=$((whole - 1))
        head -n "$whole" table >after
    else
        wait "$child" || fail "certify: $(cat error)"
        [ "$(wc -l <proofs/delta_max.csv)" = $((expected + 1)) ] || fail "rows are missing"
        [ "$(cut -d, -f1,5 proofs/delta_max.csv | sort -u | wc -l)" = $((expected + 1)) ] || fail "a row stands twice"
        cp proofs/delta_max.csv after
    fi
    child=
    cmp -s -n "$(stat -c %s before)" before after || fail "finished rows were lost"
    mv after before
    if [ "$(wc -l <before)" = $((expected + 1)) ] && [ -f proofs/summary.json ]; then
        "$binary" audit proofs --sample 20 --quiet || fail "audit"
        finished=$((finished + 1))
        rm -r proofs
        : >before
    fi
done

echo "$minutes minutes: $lives processes, $kills killed, $finished runs of $expected rows finished"
# Of processes that lived for 30 seconds: their memory halfway, and their last.
awk -F, '
    NR == 1 { next }
    { mib[$1, $2] = $3; late[$1] = $3; age[$1] = $2; if ($3 > most) most = $3 }
    END {
        for (p in age) if (age[p] >= 30) {
            half = int(age[p] / 2)
            while (!((p, half) in mib)) half++
            n++; a += mib[p, half]; b += late[p]
        }
        if (n) printf "memory of %d processes that lived 30 s or longer: %.0f MiB halfway, %.0f MiB at the end\n", n, a / n, b / n
        printf "most memory at any time: %d MiB\n", most
    }' memory.csv
