#!/bin/bash
# What a user is most likely to get wrong: exact message, exit code, nothing written.
. "$(dirname "$0")/helper.sh"
out=$work/m.moeq
export HF_HUB_CACHE=$work/hub
levels="there are $(all_levels_of_help | paste -s -d, | sed 's/,/, /g')"
recipes="mix2, mix3, mix4, mix5, early3, early4, q2_k_mix, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k_mix, iq3_xs, iq3_m, iq4_nl_mix, iq4_xs_mix"

# the command
"$moeq" > "$work/stdout" 2> "$work/stderr"
[ $? = 2 ] && [ ! -s "$work/stderr" ] && diff <("$moeq" --help) "$work/stdout" || fail "moeq alone prints help, exit code 2"
usage "" "unknown command 'convrt'; did you mean 'convert'?" convrt x
usage "" "unknown command 'quantise'" quantise
usage "" "unknown command '--frobnicate'" --frobnicate
usage "" "unknown command 'nonsense'" help nonsense

# options
usage convert "expected: moeq convert MODEL -o FILE --level LEVEL | --recipe NAME | --gpu CARD" convert
usage convert "--level is missing, such as --level q4_k" convert $model -o "$out"
usage convert "-o FILE is missing (or --dry-run, to see the plan)" convert $model --level q4_k
usage convert "--level: unknown level 'q9_k'; did you mean q6_k?" convert $model -o "$out" --level q9_k
usage convert "--level: unknown level 'int-four'; $levels, $recipes" convert $model -o "$out" --level int-four
usage convert "--attention: unknown level 'none'; $levels" convert $model -o "$out" --level q4_k --attention none
usage convert "--level: level 'i4_32' is read only: files that have it are read, but none is written" convert $model -o "$out" --level i4_32
usage convert "--level: 'q4_0' is read, but never written; q4_k is as large, and closer" convert $model -o "$out" --level q4_0
usage convert "--embeddings: 'q5_1' is read, but never written; q5_k is smaller, and closer" convert $model -o "$out" --level q4_k --embeddings q5_1
usage convert "--tensor: 'q4_1' is read, but never written; q4_k is smaller, and closer" convert $model -o "$out" --level q4_k --tensor '*=q4_1'
usage sweep "--levels: 'q5_0' is read, but never written; q5_k is as large, and closer" sweep $model --text README.md --levels q8_0,q5_0
usage fit "--gpu '4090 48GB' is not in the list (--list-gpus); near it: GeForce RTX 4090; GeForce RTX 4090 D; GeForce RTX 4090 Laptop; --vram SIZE takes any other" \
    fit $model --gpu "4090 48GB"
usage fit "--gpu 'm2 max' could be: Apple M2 Max (32, 64 or 96 GB). With its memory it is one, as in 'm2 max 64GB'. --vram SIZE takes any other card" \
    fit $model --gpu "m2 max"
usage fit "--gpu 'm2 max 32GB': a machine of unified memory stands alone: name one" \
    fit $model --gpu "3090,m2 max 32GB"
usage fit "--vram '2x24': expected a size such as 24GiB, or those of several cards, such as 2x24GiB or 24GiB,12GiB" \
    fit $model --vram 2x24
usage fit "--vram gives 3 sizes and --gpu 2 cards: give one size, or one for each" \
    fit $model --gpu 3090,3060 --vram 3x12G
"$moeq" fit $model --gpu m2-max --vram 32GiB | grep -q "^  card     Apple M2 Max 32GB: 32 GB, 21.33 GiB usable" ||
    fail "a Mac's memory by --vram"
"$moeq" fit $model --gpu "M2 Max 32GB" --vram 28GiB | grep -q "^  card     Apple M2 Max: 28.00 GiB usable" ||
    fail "a Mac with a raised limit"
"$moeq" fit $model --gpu "M2 Max 32GB" --vram 32GiB | grep -q "21.33 GiB usable" || fail "all of a Mac's memory"
"$moeq" fit $model --gpu 2x3090,3060 --vram 22GiB,11GiB | grep -q "^  card 3   GeForce RTX 3060: 11.00 GiB usable" ||
    fail "three cards of two sizes"
"$moeq" fit $model --gpu 3090,3060 --vram 22GiB,11GiB | grep -q "^  card 2   GeForce RTX 3060: 11.00 GiB usable" ||
    fail "two cards, each with its size"
usage fit "--levels: 'q5_0' is read, but never written; q5_k is as large, and closer" fit $model --gpu L4 --levels q5_0
usage convert "unknown option '--leval'; did you mean --level?" convert $model --leval q4_k
usage convert "unknown option '-force'; did you mean --force?" convert $model -force
usage convert "unknown option '-x'" convert $model -x
usage convert "unexpected argument 'other'" convert $model other
usage convert "--output needs a value: FILE" convert $model -o --level q4_k
usage convert "--level needs a value: LEVEL" convert $model -o "$out" --level
usage convert "--memory '12X': expected a size such as 256M or 4G" convert $model --memory 12X
usage convert "--memory '99999999999G': expected a size such as 256M or 4G" convert $model --memory 99999999999G
usage convert "--memory '-1': expected a size such as 256M or 4G" convert $model --memory -1
usage convert "--threads '0': expected a whole number above 0" convert $model --threads 0
usage convert "--threads 'two': expected a whole number above 0" convert $model --threads two
usage convert "--force takes no value" convert $model --force=yes
usage convert "--effort 'max': expected default, best or calibrated" convert $model -o "$out" --level q4_k --effort max
usage convert "--tensor 'foo': expected 'PATTERN=LEVEL', such as '*.layers.0.*=q8_0'" \
    convert $model -o "$out" --level q4_k --tensor foo
usage convert "--level and --recipe exclude each other" \
    convert $model -o "$out" --level q4_k --recipe mix4
usage convert "--recipe: unknown recipe 'mix9'; did you mean mix2?" convert $model -o "$out" --recipe mix9
usage convert "--recipe: unknown recipe 'best'; there are $recipes" \
    convert $model -o "$out" --recipe best
usage convert "--shared: unknown level 'none'; $levels" convert $model -o "$out" --level q4_k --shared none
usage sweep "--shared is about --levels, of which there are none" \
    sweep $model --text demo/text.txt --files $model --shared q8_0
usage convert "--attention and a recipe (mix4) exclude each other; --tensor refines a recipe" \
    convert $model -o "$out" --recipe mix4 --attention q8_0
usage sweep "--levels: unknown level 'mixx4'; did you mean mix4?" \
    sweep $model --text demo/text.txt --levels q4_k,mixx4
usage export "expected: moeq export MODEL -o OUT [--format NAME] [--level LEVEL | --gpu CARD]" export
usage export "-o FILE.gguf is missing (or --dry-run, to see the plan)" export $model --level q4_k
usage export "--unify 'down': expected up" export $model -o "$work/m.gguf" --unify down
"$moeq" convert $model -o "$work/q4.moeq" --level q4_k -q
expect 1 "moeq: $work/q4.moeq: is quantized already: its blocks are copied as they are; levels and recipes are for the original model" \
    export "$work/q4.moeq" -o "$work/m.gguf" --level q3_k
rm "$work/q4.moeq"
usage inspect "expected: moeq inspect MODEL [--tensors] | --list-families" inspect
usage inspect "unknown option '--dry-run'" inspect $model --dry-run
# what scripts give to every command: a bound that a command keeps anyway, or less to print
expect 0 "" inspect $model --threads 2 --memory 1G --no-progress -v
expect 0 "" fit $model --vram 24GiB --memory 1G --no-progress
expect 0 "" check $model -v --no-progress
! "$moeq" inspect --help | grep -q -- --threads || fail "inspect's help has --threads, which does nothing there"
usage tokenize "expected one of --text FILE, --string TEXT, --jsonl FILE" tokenize $model
usage tokenize "expected one of --text FILE, --string TEXT, --jsonl FILE" tokenize $model --string a --text b
usage eval "expected either --text FILE, or --ids FILE with --dump FILE" eval $model
usage eval "--protocol 'third': expected half or full" eval $model --text demo/text.txt --protocol third
expect 0 "moeq sweep: --levels names q3_k twice: it is measured once" \
    sweep $model --text demo/text.txt --levels q3_k,q3_k --tokens 512 --no-progress
[ "$(grep -cE '^  q3_k +[0-9]{7} ' "$work/stdout")" = 1 ] || fail "a level given twice: $(grep q3_k "$work/stdout")"
usage sweep "--text FILE is missing" sweep $model

# files
expect 1 "moeq: /no/such/model: no such file or folder" convert /no/such/model -o "$out" --level q4_k
expect 1 "moeq: no-owner/no-model: no such folder here, and not in the Hugging Face cache ($work/hub); download it first: hf download no-owner/no-model" \
    inspect no-owner/no-model
expect 1 "moeq: demo/missing.moeq: no such file or folder" inspect demo/missing.moeq
expect 1 "moeq: docs: holds no config.json: expected a Hugging Face model folder" inspect docs
expect 1 "moeq: demo/model/config.json: is JSON, no model: for a Hugging Face model give its folder" check demo/model/config.json
expect 1 "moeq: demo/model/model-00001-of-00003.safetensors: is a safetensors file but no moeq file; for a Hugging Face model give its folder" \
    inspect demo/model/model-00001-of-00003.safetensors
expect 1 "moeq: /no/such.txt: cannot open: No such file or directory" tokenize $model --text /no/such.txt
expect 1 "moeq: /no/such.txt: cannot open: No such file or directory" eval $model --text /no/such.txt
expect 1 "moeq: docs: holds no tokenizer.json" tokenize docs --string x
western=" (of Western text in one byte a letter iconv -f WINDOWS-1252 -t UTF-8 makes it)"
printf 'abc\377' > "$work/latin1.txt"
echo short > "$work/short.txt"
expect 1 "moeq: $work/latin1.txt: text at byte 3: invalid UTF-8$western" tokenize $model --text "$work/latin1.txt"
expect 1 "moeq: $work/latin1.txt: text at byte 3: invalid UTF-8$western" eval $model --text "$work/latin1.txt"
expect 1 "moeq: $work/short.txt: one window needs 512 tokens (--context), found 3" \
    eval $model --text "$work/short.txt"
expect 1 "moeq: $model: a context of 100000 tokens is beyond the model's 32768 positions" \
    eval $model --text demo/text.txt --context 100000
expect 1 "moeq: tests/fixtures/oracles/mixtral: has no tokenizer.json, so a text cannot be tokenized; give token ids (--ids) instead" \
    eval tests/fixtures/oracles/mixtral --text demo/text.txt
rm "$work/latin1.txt" "$work/short.txt"
expect 0 "" check $model
grep -q "^Hugging Face folders have no checksums" "$work/stdout" || fail "check of a folder: $(cat "$work/stdout")"
expect 1 "moeq: no tensor of $model matches the pattern 'nothing' (names are like 'model.layers.1.block_sparse_moe.experts.3.w1.weight')" \
    convert $model -o "$out" --level q4_k --tensor nothing=q8_0
expect 1 "moeq: $model: tensor 'model.layers.0.block_sparse_moe.gate.weight' (router) is bf16 in the source and is never stored with less precision; q8_0 was asked for" \
    convert $model -o "$out" --level q4_k --tensor '*.gate.weight=q8_0'
expect 1 "moeq: $model/x.moeq: the output would lie inside the source folder $model; choose another place" \
    convert $model -o $model/x.moeq --level q4_k
expect 1 "moeq: $work: is a folder; the output is one file, such as $work/model.moeq" \
    convert $model -o "$work" --level q4_k
mkdir "$work/gpt"
families=$(sed -n 's/^    X(\(.*\)).*/\1/p' formats/arch/families.c | paste -sd, | sed 's/,/, /g')
echo '{"model_type": "gpt2"}' > "$work/gpt/config.json"
expect 1 "moeq: $work/gpt/config.json: model_type \"gpt2\" is not supported (supported: $families)" \
    inspect "$work/gpt"
echo precious > "$out"
expect 1 "moeq: $out: exists already; give --force to replace it" convert $model -o "$out" --level q4_k -q
[ "$(cat "$out")" = precious ] || fail "the output was touched"
[ "$(ls "$work")" = $'gpt\nm.moeq\nstderr\nstdout' ] || fail "leftovers: $(ls "$work")"

# and what is right
expect 0 "" convert $model "-o$out" --level=q4 --force -q --memory 64MiB
[ ! -s "$work/stdout" ] || fail "-q printed: $(cat "$work/stdout")"
expect 0 "" inspect "$out"
expect 0 "" check "$out"
finish
