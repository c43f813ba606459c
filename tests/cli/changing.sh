#!/bin/bash
# Usage: changing.sh MOEQ SOURCE_DIR WORK_DIR SHIM
# A source that is written to while it is read is an error in every command, which names it; and nothing is left.
shim=$4
. "$(dirname "$0")/helper.sh"
may_preload
export GOMP_SPINCOUNT=3000 # or moeq begins anew, and what was preloaded with it
run=(--text demo/text.txt --tokens 128 --context 64 --no-progress -q)

"$moeq" convert $model -o "$work/b.moeq" --level q8_0 -q || fail "no moeq file"
"$moeq" record $model "${run[@]}" -o "$work/b.ref" || fail "no recording"
"$moeq" calibrate $model "${run[@]}" -o "$work/b.cal" > /dev/null || fail "no calibration"

# changes NAME AT FILE ARGUMENTS...: FILE, of which a copy is in $work/m, is written to at the AT-th read.
changes() {
    local name=$1 at=$2 file=$3
    shift 3
    [ ${#few[@]} = 0 ] || [[ " ${few[*]} " = *" $name "* ]] || return 0
    rm -rf "$work/m" "$work/out"
    mkdir "$work/out"
    cp -r $model "$work/m"
    cp "$work"/b.* "$work/m"
    LD_PRELOAD="$shim" CHANGE_AT=$at CHANGE_FILE="$work/m/$file" "$moeq" "$@" > "$work/stdout" 2> "$work/stderr"
    [ $? = 1 ] && grep -q "$file: changed while it was read: it was written to since" "$work/stderr" ||
        fail "$name: no error: $(cat "$work/stderr")"
    [ -z "$(ls "$work/out")" ] || fail "$name left $(ls "$work/out")"
}

few=()
sampled && few=(convert record "check of a file" "its tokenizer")
shard=model-00002-of-00003.safetensors
m=$work/m out=$work/out
changes eval 40 $shard eval "$m" "${run[@]}"
changes record 40 $shard record "$m" "${run[@]}" -o "$out/r"
changes sweep 40 $shard sweep "$m" "${run[@]}" --levels q4_k --report "$out/r.html"
changes verify 40 $shard verify "$work/b.moeq" --against "$m" "${run[@]}"
changes "verify's model" 40 b.moeq verify "$m/b.moeq" --against "$work/b.ref" -q --no-progress
changes "verify's recording" 40 b.ref verify "$work/b.moeq" --against "$m/b.ref" -q --no-progress
changes generate 40 $shard generate "$m" --prompt Once -n 4 -q
changes convert 40 $shard convert "$m" -o "$out/o.moeq" --level q4_k -q
changes "convert --calibration" 30 b.cal convert $model -o "$out/o.moeq" --level q4_k --calibration "$m/b.cal" -q
changes export 40 $shard export "$m" -o "$out/o.gguf" --level q8_0 -q
changes "export of a moeq file" 40 b.moeq export "$m/b.moeq" -o "$out/o.gguf" -q
changes calibrate 40 $shard calibrate "$m" "${run[@]}" -o "$out/c"
changes "calibrate --merge" 12 b.cal calibrate --merge "$m/b.cal" "$m/b.cal" -o "$out/c" -q
changes "check of a folder" 40 $shard check "$m" -q
changes "check of a file" 12 b.moeq check "$m/b.moeq" -q
# what was read and closed belongs to the model, too
changes "its tokenizer" 40 tokenizer.json eval "$m" "${run[@]}"
changes "its config" 3 config.json inspect "$m"
# a time of modification that is set back
export CHANGE_BACK=1
changes "a time set back" 40 $shard record "$m" "${run[@]}" -o "$out/r"
finish
