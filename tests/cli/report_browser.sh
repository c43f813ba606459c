#!/bin/bash
# The HTML report in headless Chromium, both themes at 400 and 1400 pixels: nothing wider than the
# page, no words outside of their chart, no message on the console. Skipped (77) without Chromium.
. "$(dirname "$0")/helper.sh"
browser=
for name in chromium chromium-browser google-chrome; do
    browser=${browser:-$(command -v "$name")}
done
[ -n "$browser" ] || { echo "skipped: no Chromium found" >&2; exit 77; }
"$moeq" sweep $model --text demo/text.txt --levels q8_0,q4_k,q3_k --tokens 1024 --swap \
    --noise-floor --no-progress --report "$work/report.html" > /dev/null || fail "exit code $?"

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
    document.querySelectorAll("svg").length, "outside:", outside.join("; ") || "none"], "*");
})</script>
EOF
for theme in dark light; do
    [ $theme = dark ] && media=screen || media='not all'
    sed -e "s/@media screen and (prefers-color-scheme:dark)/@media $media/" \
        -e 's/<details>/<details open>/' -e "/<head>/r $work/tell" "$work/report.html" \
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
        expected="width $width content $width charts 8 outside: none"
        [ "$found" = "$expected" ] || fail "$theme: found '$found', expected '$expected'"
        ! grep 'CONSOLE' "$work/log" || fail "$theme, $width pixels: messages on the console"
    done
done
finish
