#!/usr/bin/env bash
# Everything that a machine with a real GPU can tell, in one command and without a network: kernel tests on the GPU, throughput,
# delta max of a test set by each method, the same by the CPU, and auto_LiRPA on the same networks, images and device.
#
#     benches/gpu.sh --data DATA --nets NETS [--out OUT] [--images 10000] [--seconds 600]
#
# DATA holds the IDX files of Fashion-MNIST, NETS what benches/peers/networks.py wrote (at least conv.onnx). On a machine that cannot
# build, name programs built elsewhere: --deltamax FILE, and --kernels FILE, which is target/release/deps/kernels-*.
# A step that fails or takes too long is said and the next one goes on. OUT/results.md is a table for benches/RESULTS.md; OUT/log has all that was printed.
# auto_LiRPA is measured where python3 can import it (PYTHONPATH) and PyTorch has CUDA; --device cpu measures on the CPU backend instead.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deltamax=$here/../target/release/deltamax kernels='' data='' nets='' out=gpu-results images=10000 seconds=600 device=gpu
while [ $# -gt 0 ]; do
    case $1 in
        --deltamax | --kernels | --data | --nets | --out | --images | --seconds | --device) declare "${1#--}=${2:?$1 needs a value}"; shift 2 ;;
        *) echo "gpu.sh: what is $1? See the top of the script." >&2; exit 2 ;;
    esac
done
for needed in data nets; do
    [ -d "${!needed}" ] || { echo "gpu.sh: --$needed must name a folder; see the top of the script." >&2; exit 2; }
done
if [ ! -x "$deltamax" ]; then
    (cd "$here/.." && cargo build --release) || exit 2
fi
mkdir -p "$out"
: >"$out/log"; : >"$out/rows"
start=$SECONDS
failed=0

say() { echo "$*" | tee -a "$out/log"; }
left() { echo $((seconds - (SECONDS - start))); }

# step LIMIT NAME COMMAND...: runs it, logs it, sets `took` (seconds) and `text` (what it printed on standard output).
step() {
    local limit=$1 name=$2; shift 2
    [ "$(left)" -gt 5 ] || { say "-- $name: left out, the time is used up"; failed=1; return 1; }
    [ "$limit" -le "$(left)" ] || limit=$(left)
    say "== $name"
    local from=${EPOCHREALTIME/./}
    timeout "$limit" "$@" >"$out/text" 2>>"$out/log"
    local code=$?
    took=$(awk "BEGIN { printf \"%.2f\", (${EPOCHREALTIME/./} - $from) / 1e6 }")
    cat "$out/text" >>"$out/log"
    text=$(cat "$out/text")
    [ $code -eq 0 ] || { say "-- $name: ended with $code after $took s"; tail -5 "$out/log"; failed=1; return 1; }
}

row() { printf '| %s | `%s` | %s |\n' "$1" "$2" "$3" | tee -a "$out/rows"; }

step 60 "devices" "$deltamax" devices && say "$text"
adapter=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo "${text:-unknown}" | tail -1)

# 1. The table of kernels, on the GPU and on the twin.
if [ -z "$kernels" ] && command -v cargo >/dev/null; then
    step 300 "kernel tests" cargo test --release --manifest-path "$here/../Cargo.toml" --test kernels
elif [ -n "$kernels" ]; then
    step 120 "kernel tests" "$kernels"
fi && row "kernel tests" "cargo test --release --test kernels" "$(tail -3 "$out/text" | tr '\n' ' ' | sed 's/  */ /g'), $took s"

# 2. Delta max of a test set. The first run compiles pipelines and is not counted.
# proved METHOD NET IMAGES EXTRA...
proved() {
    local method=$1 net=$2 count=$3; shift 3
    rm -rf "$out/run"
    step 200 "$net $method $*" "$deltamax" certify --device "$device" --quiet --model "$nets/$net.onnx" --data "$data" --method "$method" --limit "$count" --out "$out/run" "$@" || return
    local median
    median=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "proved") c = i } NR > 1 { print $c }' "$out/run/delta_max.csv" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
    row "$net, $count images" "certify --method $method $*" "$took s, median proved $median"
    cp "$out/run/delta_max.csv" "$out/$net-$method.csv"
}

# Radii by the CPU backend beside those just found: ratio GPU over CPU, and classes that differ.
agrees() {
    local method=$1 net=$2 count=$3
    rm -rf "$out/run"
    step 100 "$net $method by the CPU" "$deltamax" certify --device cpu --quiet --no-attack --model "$nets/$net.onnx" --data "$data" --method "$method" --limit "$count" --out "$out/run" || return
    row "$net, $count images, CPU backend, $(nproc) threads" "certify --method $method --device cpu --no-attack" "$took s; $(awk -F, '
        FNR == 1 { for (i = 1; i <= NF; i++) { if ($i == "proved") c = i; if ($i == "predicted") k = i } next }
        NR == FNR { r[$1] = $c; p[$1] = $k; next }
        { n++; if (p[$1] != $k) other++; if ($c > 0) { q = r[$1] / $c; if (q < low || !low) low = q; if (q > high) high = q } }
        END { printf "%s over CPU per image %.5f to %.5f, %d of %d classes differ", "'"$device"'", low, high, other, n }' "$out/$net-$method.csv" "$out/run/delta_max.csv")"
}
proved ibp conv 64 --no-attack
proved ibp conv "$images" --no-attack
agrees ibp conv "$images"
proved crown-ibp conv "$images" --no-attack
proved crown conv "$images" --no-attack
agrees crown conv "$((images / 10))"
proved crown conv "$images"
[ -f "$nets/residual.onnx" ] && proved crown residual "$images" --no-attack
proved alpha conv "$((images / 10))" --no-attack
proved crown conv "$((images / 100))" --branch 200

# 3. The peer, on the same device.
cuda=$([ "$device" = gpu ] && echo cuda || echo cpu)
if python3 -c "import torch, auto_LiRPA; assert '$cuda' == 'cpu' or torch.cuda.is_available()" 2>>"$out/log"; then
    peer() {
        local method=$1 limit=$2 batch=$3; shift 3
        step 150 "auto_LiRPA $method" python3 "$here/peers/compare.py" --deltamax "$deltamax" --data "$data" --device "$device" --method "$method" --limit "$limit" --batch "$batch" "$@" && say "$text" \
            && row "beside auto_LiRPA" "compare.py --device $device --method $method --limit $limit --batch $batch" "$(echo "$text" | tr '\n' ' ')"
    }
    peer crown 2000 500 "$nets/conv.onnx"
    peer ibp 10000 5000 "$nets/conv.onnx"
    [ -f "$nets/residual.onnx" ] && peer crown 500 100 "$nets/residual.onnx"
    peer crown-ibp 2000 1000 "$nets/conv.onnx"
else
    say "-- auto_LiRPA: python3 cannot import it with PyTorch on $cuda; benches/peers/README.md says how to install it"
fi

# 4. Throughput.
step 150 "bench" "$deltamax" bench --device "$device" && say "$text"

# 5. The case study, which is the main command.
step 120 "study" "$deltamax" study --quick --device "$device" --out "$out/study" && row "case study" "study --quick --device $device" "$took s"

{
    echo "## $(date +%F), $adapter"
    echo
    echo "| work | command | result |"
    echo "|---|---|---|"
    cat "$out/rows"
} >"$out/results.md"
rm -rf "$out/run" "$out/study" "$out/text" "$out/rows"
say "$out/results.md is written after $((SECONDS - start)) s$([ $failed = 0 ] || echo '; some steps failed, see the log')"
exit $failed
