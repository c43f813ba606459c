# The example program says what a card holds, and makes a file for it and a page.
set -e
program=$1 work=$2/example
mkdir -p "$work"
head -c 2000 demo/text.txt > "$work/calibration.txt"
tail -c 2000 demo/text.txt > "$work/text.txt"
"$program" demo/model "$work/calibration.txt" "$work/text.txt" 1100MiB "$work/e.moeq" "$work/e.html" > "$work/fit.json"
python3 -c 'import json, sys; assert json.load(sys.stdin)["moeq_result"] == "fit"' < "$work/fit.json"
grep -q '<svg' "$work/e.html"
[ -s "$work/e.moeq" ]
