#!/bin/bash
# Named mixes of moeq's own are worth their bytes: below the line between the plain levels beside them.
. "$(dirname "$0")/helper.sh"
optimized_judges "the figures"

"$moeq" sweep $model --text demo/text.txt --tokens 2048 --levels q3_k,mix3,q4_k,mix4,q5_k --json > "$work/sweep.json" ||
    fail "sweep"
python3 - "$work/sweep.json" << 'PYTHON' || fail "figures"
import json, math, sys
rows = {row["name"]: (row["file_bytes"], math.log(row["kld_nats"]["mean"]["value"]))
        for row in json.load(open(sys.argv[1]))["rows"] if not row["is_baseline"]}
for below, mix, above in ("q3_k", "mix3", "q4_k"), ("q4_k", "mix4", "q5_k"):
    (x0, y0), (x, y), (x1, y1) = rows[below], rows[mix], rows[above]
    assert x0 < x < x1 and y < y0 + (y1 - y0) * (x - x0) / (x1 - x0), (mix, rows)
PYTHON
finish
