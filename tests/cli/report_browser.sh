#!/bin/bash
# The HTML report in headless Chromium, both themes at 400 and 1400 pixels: nothing wider than the
# page, no words outside of their chart, no message on the console. Skipped (77) without Chromium.
. "$(dirname "$0")/helper.sh"
optimized_judges "the pages"
browser=
for name in chromium chromium-browser google-chrome; do
    browser=${browser:-$(command -v "$name")}
done
[ -n "$browser" ] || { echo "skipped: no Chromium found" >&2; exit 77; }
"$moeq" sweep $model --text demo/text.txt --levels q8_0,q4_k,q3_k --tokens 1024 --swap \
    --noise-floor --no-progress --report "$work/report.html" > /dev/null || fail "exit code $?"

"$moeq" convert $model -o "$work/q4_k.moeq" --level q4_k -q > /dev/null || fail "convert"
"$moeq" convert $model -o "$work/q3_k.moeq" --level q3_k -q > /dev/null || fail "convert"
echo '{"moeq_gate": 1, "limits": {"kld.mean": {"max": 0.001}, "same_top": {"min": 0.5}}}' > "$work/gate.json"
"$moeq" verify "$work/q4_k.moeq" "$work/q3_k.moeq" --against $model --text demo/text.txt \
    --tokens 1024 --swap --noise-floor --gate "$work/gate.json" --no-progress \
    --report "$work/verify.html" > /dev/null
[ $? = 3 ] || fail "verify: no regression"

# Headless windows have a least width, so the page stands in a frame. A copy of it, with its folded
# part open, tells the frame's owner what it measures; the owner shows that as its own title.
cat > "$work/tell" << 'EOF'
<script>addEventListener("load", () => {
  const root = document.documentElement, outside = [];
  for (const svg of document.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const r = text.getBoundingClientRect();
      if (r.left < box.left - 2 || r.right > box.right + 2 || r.top < box.top - 2 ||
          r.bottom > box.bottom + 2)
        outside.push(text.textContent);
    }
  }
  parent.postMessage(["width", root.clientWidth, "content", root.scrollWidth, "charts",
    document.querySelectorAll("svg:not(.icon)").length, "outside:", outside.join("; ") || "none"], "*");
})</script>
EOF
# look PAGE CHARTS: both themes, both widths
look() {
    local page=$1 charts=$2 theme width media found expected
    for theme in dark light; do
        [ $theme = dark ] && media=screen || media='not all'
        sed -e "s/@media screen and (prefers-color-scheme:dark)/@media $media/" \
            -e 's/<details>/<details open>/' -e "/<head>/r $work/tell" "$work/$page.html" \
            > "$work/$theme.html"
        for width in 400 1400; do
            cat > "$work/frame.html" << EOF
<!DOCTYPE html><html><head><link rel="icon" href="data:,"><script>
addEventListener("message", e => { document.title = e.data.join(" ") })</script></head>
<body style="margin:0"><iframe src="$theme.html" style="border:0;width:${width}px;height:900px">
</iframe></body></html>
EOF
            timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars \
                --enable-logging=stderr --virtual-time-budget=5000 --user-data-dir="$work/profile" \
                --window-size=1500,1000 --dump-dom "file://$work/frame.html" \
                > "$work/dom" 2> "$work/log" || { echo "skipped: $browser fails here" >&2; exit 77; }
            found=$(sed -n 's/.*<title>\([^<]*\)<\/title>.*/\1/p' "$work/dom")
            expected="width $width content $width charts $charts outside: none"
            [ "$found" = "$expected" ] || fail "$page, $theme: found '$found', expected '$expected'"
            ! grep 'CONSOLE' "$work/log" || fail "$page, $theme, $width pixels: messages on the console"
        done
    done
}
look report 8 # three levels
look verify 7 # two files
finish
