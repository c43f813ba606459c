/* report_svg.c: axes, points and labels. Coordinates are those of the viewBox; the page scales it.
 */
#include "report_svg.h"

#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At this width the text, drawn at 13, is 11 pixels high on a telephone and 15 on a desk. */
static const double WIDTH = 440, PLOT_HEIGHT = 230, FONT = 13, NAME_HEIGHT = 13.5,
                    APART = 5, /* between words */
    LEADER = 16;               /* how much further off a label stands where there is no room */

void mq_html_char(struct mq_buffer *out, const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    if (c == '&')
        mq_buffer_puts(out, "&amp;");
    else if (c == '<')
        mq_buffer_puts(out, "&lt;");
    else if (c == '>')
        mq_buffer_puts(out, "&gt;");
    else if (c == '"')
        mq_buffer_puts(out, "&quot;");
    else if (c == '\'')
        mq_buffer_puts(out, "&#39;");
    else if ((c < 32 && c != '\n' && c != '\t') || c == 127)
        mq_buffer_puts(out, "\ufffd");
    else
        mq_buffer_putc(out, (char)c);
}

void mq_html_text(struct mq_buffer *out, const char *text)
{
    mq_escape(out, text, mq_html_char);
}

/* ---- axes ---- */

void mq_axis_add_tick(struct mq_axis *axis, double at, const char *label)
{
    if (axis->ticks_count == MQ_TICKS)
        return;
    struct mq_tick *t = &axis->ticks[axis->ticks_count++];
    t->at = at;
    snprintf(t->label, sizeof t->label, "%s", label);
}

static void add_number_tick(struct mq_axis *axis, double at)
{
    char label[24];
    const double shown = axis->percent ? 100 * at : at;
    /* What is 0 but for rounding of the steps is 0. */
    const double clean = fabs(shown) < 1e-12 * fabs(axis->max - axis->min) ? 0 : shown;
    const char *unit = axis->percent ? "\u00a0%" : "";
    if (clean != 0 && fabs(clean) < 1e-4 && fabs(clean) >= 1e-7) /* %g would write 5e-05 */
        snprintf(label, sizeof label, "%.*f%s", (int)ceil(-log10(fabs(clean)) - 1e-9), clean, unit);
    else
        snprintf(label, sizeof label, "%.6g%s", clean, unit);
    mq_axis_add_tick(axis, at, label);
}

static void fit_linear(struct mq_axis *axis, double low, double high)
{
    if (!(high > low)) {
        const double room = fabs(low) > 0 ? 0.1 * fabs(low) : 1;
        low -= room;
        high += room;
    }
    const double rough = (high - low) / 5, power = pow(10, floor(log10(rough)));
    const double step = power * (rough / power > 5   ? 10
                                 : rough / power > 2 ? 5
                                 : rough / power > 1 ? 2
                                                     : 1);
    axis->min = floor(low / step + 1e-9) * step;
    axis->max = ceil(high / step - 1e-9) * step;
    for (int i = 0; i < MQ_TICKS && axis->min + i * step <= axis->max + step / 2; i++)
        add_number_tick(axis, axis->min + i * step);
}

/* 1, 2, 5, 10, 20, ... by its place in the row; place 0 is 1. */
static double one_two_five(int place)
{
    static const double steps[] = {1, 2, 5};
    const int decade = place >= 0 ? place / 3 : -((2 - place) / 3);
    return steps[place - 3 * decade] * pow(10, decade);
}

static void fit_log(struct mq_axis *axis, double low, double high)
{
    int first = 3 * (int)floor(log10(low)), last;
    while (one_two_five(first + 1) <= low * (1 + 1e-9))
        first++;
    for (last = first + 1; one_two_five(last) < high * (1 - 1e-9);)
        last++;
    axis->min = one_two_five(first);
    axis->max = one_two_five(last);
    /* up to two decades show 1, 2 and 5; more show powers of ten, thinned to about six */
    const int decades = (last - first) / 3, stride = decades <= 2 ? 1 : 3 * (1 + decades / 7);
    for (int place = first; place <= last; place++)
        if (stride == 1 || place % stride == 0)
            add_number_tick(axis, one_two_five(place));
}

void mq_axis_fit(struct mq_axis *axis, double low, double high)
{
    axis->ticks_count = 0;
    if (axis->logarithmic) {
        if (!(low > 1e-300) || !(high < 1e300) || !(high >= low))
            low = 1, high = 10;
        fit_log(axis, low, high);
    } else {
        if (!isfinite(low) || !isfinite(high) || fabs(low) > 1e300 || fabs(high) > 1e300)
            low = 0, high = 1;
        fit_linear(axis, low, high);
    }
}

void mq_axis_fit_integers(struct mq_axis *axis, double first, double last)
{
    axis->ticks_count = 0;
    /* 1e9: where adding 1 still counts, by far */
    if (!(fabs(first) < 1e9) || !(fabs(last) < 1e9) || last < first || last - first > 1e6)
        first = 0, last = 1;
    axis->min = first - 0.5;
    axis->max = last + 0.5;
    double step = 1;
    for (int place = 0; (last - first) / step > 12; place++)
        step = one_two_five(place);
    for (double at = ceil(first / step) * step; at <= last; at += step)
        add_number_tick(axis, at);
}

/* Where a value lies between the axis' ends: 0 to 1, clamped. */
static double share_of(const struct mq_axis *a, double v)
{
    double s;
    if (a->logarithmic)
        s = v > 0 ? log(v / a->min) / log(a->max / a->min) : 0;
    else
        s = (v - a->min) / (a->max - a->min);
    return s < 0 ? 0 : s > 1 ? 1 : s;
}

static double place_x(const struct mq_chart *c, double x)
{
    return c->plot.left + share_of(&c->x, x) * (c->plot.right - c->plot.left);
}

static double place_y(const struct mq_chart *c, double y)
{
    return c->plot.bottom - share_of(&c->y, y) * (c->plot.bottom - c->plot.top);
}

/* ---- text ---- */

/* An estimate: letters of a sans-serif face are a little over half as wide as high. */
static double text_width(const char *text)
{
    size_t letters = 0;
    for (; *text; text++)
        letters += ((unsigned char)*text & 0xc0) != 0x80;
    return 0.58 * FONT * (double)letters;
}

static void put_text(struct mq_buffer *out, const char *class, const char *anchor, double x,
                     double y, const char *text)
{
    mq_buffer_printf(out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class,
                     anchor, x, y);
    mq_html_text(out, text);
    mq_buffer_puts(out, "</text>\n");
}

static void put_tip(struct mq_buffer *out, const char *tip)
{
    if (!tip)
        return;
    mq_buffer_puts(out, "<title>");
    mq_html_text(out, tip);
    mq_buffer_puts(out, "</title>");
}

/* <svg> with what a screen reader says instead of the drawing. */
static void open_svg(struct mq_buffer *out, const char *id, double height, const char *title,
                     const char *description)
{
    mq_buffer_printf(out,
                     "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"%s-t %s-d\">\n"
                     "<title id=\"%s-t\">",
                     WIDTH, height, id, id, id);
    mq_html_text(out, title);
    mq_buffer_printf(out, "</title>\n<desc id=\"%s-d\">", id);
    mq_html_text(out, description);
    mq_buffer_puts(out, "</desc>\n");
}

/* ---- marks ---- */

static void put_mark(struct mq_buffer *out, int style, double x, double y, const char *tip)
{
    static const char *const shapes[] = {
        "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",              /* circle */
        "M-4 -4h8v8h-8z",                                             /* square */
        "M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",                        /* diamond */
        "M0 -5l5 9h-10z",                                             /* triangle */
        "M0 5l5 -9h-10z",                                             /* triangle, pointing down */
        "M-1.6 -5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z", /* plus */
        "M-2 -5h4v10h-4z",                                            /* upright bar */
        "M-5 -2h10v4h-10z",                                           /* lying bar */
    };
    /* each round of colours begins with another shape: 64 pairs before one comes again */
    const int s = style % MQ_SERIES_STYLES,
              shape = (style + style / MQ_SERIES_STYLES) % MQ_SERIES_STYLES;
    mq_buffer_printf(out, "<path class=\"mark s%d\" transform=\"translate(%.1f %.1f)\" d=\"%s\">",
                     s, x, y, shapes[shape]);
    put_tip(out, tip);
    mq_buffer_puts(out, "</path>\n");
}

/* Beyond the array's end labels may overlap; nothing else is lost. */
static void take(struct mq_chart *c, struct mq_box box)
{
    if (c->taken_count < MQ_CHART_BOXES)
        c->taken[c->taken_count++] = box;
}

/* ---- the frame ---- */

/* Lays the legend's items out in lines; draws them if `draw`. Returns its height. */
static double legend(struct mq_chart *c, double left, double top, bool draw)
{
    if (!c->legend_count)
        return 0;
    double x = left, y = top + 12;
    for (size_t i = 0; i < c->legend_count; i++) {
        const double width = 22 + text_width(c->legend[i].name) + 10;
        if (x > left && x + width > WIDTH) {
            x = left;
            y += 18;
        }
        if (draw) {
            if (c->legend[i].style >= 0)
                put_mark(c->out, c->legend[i].style, x + 7, y - 4, NULL);
            else
                mq_buffer_printf(c->out,
                                 "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"14\" "
                                 "height=\"10\"/>\n",
                                 x, y - 9);
            put_text(c->out, "name", "start", x + 18, y, c->legend[i].name);
        }
        x += width;
    }
    return y + 10 - top;
}

static void draw_axes(struct mq_chart *c)
{
    struct mq_buffer *out = c->out;
    const struct mq_box p = c->plot;
    for (size_t i = 0; i < c->y.ticks_count; i++) {
        const double y = place_y(c, c->y.ticks[i].at);
        mq_buffer_printf(out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", p.left, y, p.right);
        put_text(out, "tick", "end", p.left - 7, y + 4, c->y.ticks[i].label);
    }
    for (size_t i = 0; i < c->x.ticks_count; i++) {
        const double x = place_x(c, c->x.ticks[i].at);
        mq_buffer_printf(out, "<path class=\"axis\" d=\"M%.1f %.1fv4\"/>\n", x, p.bottom);
        put_text(out, "tick", "middle", x, p.bottom + 18, c->x.ticks[i].label);
    }
    mq_buffer_printf(out, "<path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", p.left, p.top,
                     p.bottom, p.right);
    put_text(out, "label", "middle", (p.left + p.right) / 2, p.bottom + 38, c->x.title);
    const double middle = (p.top + p.bottom) / 2;
    mq_buffer_printf(out,
                     "<text class=\"label\" text-anchor=\"middle\" "
                     "transform=\"translate(12 %.1f) rotate(-90)\">",
                     middle);
    mq_html_text(out, c->y.title);
    mq_buffer_puts(out, "</text>\n");
}

/* The left margin holds the widest tick, the top one the legend: both are known only now. */
void mq_chart_begin(struct mq_chart *c)
{
    double widest = 0;
    for (size_t i = 0; i < c->y.ticks_count; i++)
        widest = fmax(widest, text_width(c->y.ticks[i].label));
    c->plot.left = 28 + widest;
    c->plot.right = WIDTH - 12 - c->names_width;
    c->plot.top = 10 + legend(c, c->plot.left, 0, false);
    c->plot.bottom = c->plot.top + fmax(PLOT_HEIGHT, NAME_HEIGHT * (double)c->names_room);
    c->names_count = 0;
    c->height = c->plot.bottom + 46;
    c->taken_count = 0;
    c->crowded = false;
    open_svg(c->out, c->id, c->height, c->title, c->description);
    legend(c, c->plot.left, 0, true);
    draw_axes(c);
}

/* ---- names where lines end ---- */

/* Of a name too long for the margin its beginning. */
static void short_name(const char *name, char text[40])
{
    enum { LETTERS = 13 };
    size_t n = 0, letters = 0;
    while (name[n] && n < 34 && (letters < LETTERS || ((unsigned char)name[n] & 0xc0) == 0x80)) {
        letters += ((unsigned char)name[n] & 0xc0) != 0x80;
        n++;
    }
    while (name[n] && n && ((unsigned char)name[n] & 0xc0) == 0x80) /* no half of a letter */
        n--;
    snprintf(text, 40, "%.*s%s", (int)n, name, name[n] ? "…" : "");
}

void mq_chart_expect_name(struct mq_chart *c, const char *name)
{
    char text[40];
    short_name(name, text);
    if (c->names_room == MQ_LEGEND)
        return;
    c->names_room++;
    c->names_width = fmax(c->names_width, text_width(text) + 22);
}

void mq_chart_name(struct mq_chart *c, double y, const char *name)
{
    if (!isfinite(y) || c->names_count == c->names_room)
        return;
    size_t at = c->names_count++; /* from above to below */
    const double place = place_y(c, y);
    for (; at && c->names[at - 1].y > place; at--)
        c->names[at] = c->names[at - 1];
    c->names[at] = (struct mq_chart_name){name, c->style, place};
}

/* Pushed apart: down from the top, then up from the bottom where that went too far. */
static void draw_names(struct mq_chart *c)
{
    double ends[MQ_LEGEND], limit = c->plot.top + 6;
    for (size_t i = 0; i < c->names_count; i++) {
        ends[i] = c->names[i].y;
        limit = c->names[i].y = fmax(limit, c->names[i].y);
        limit += NAME_HEIGHT;
    }
    limit = c->plot.bottom;
    for (size_t i = c->names_count; i--;) {
        limit = c->names[i].y = fmin(limit, c->names[i].y);
        limit -= NAME_HEIGHT;
    }
    for (size_t i = 0; i < c->names_count; i++) {
        char text[40];
        short_name(c->names[i].name, text);
        if (fabs(ends[i] - c->names[i].y) < 3 * NAME_HEIGHT) /* many long ones make a wedge */
            mq_buffer_printf(c->out, "<path class=\"join\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n",
                             c->plot.right, ends[i], c->plot.right + 8, c->names[i].y);
        put_mark(c->out, c->names[i].style, c->plot.right + 13, c->names[i].y, NULL);
        put_text(c->out, "name small", "start", c->plot.right + 21, c->names[i].y + 4, text);
    }
}

void mq_chart_end(struct mq_chart *c)
{
    draw_names(c);
    mq_buffer_puts(c->out, "</svg>\n");
}

/* ---- what stands in it ---- */

/* The area of a box that others cover or that lies outside the plot. */
static double conflict(const struct mq_chart *c, struct mq_box b)
{
    double area = 0;
    for (size_t i = 0; i < c->taken_count; i++) {
        const struct mq_box t = c->taken[i];
        const double w = fmin(b.right, t.right) - fmax(b.left, t.left);
        const double h = fmin(b.bottom, t.bottom) - fmax(b.top, t.top);
        if (w > 0 && h > 0)
            area += w * h;
    }
    area += 100 * (fmax(0, c->plot.left - b.left) + fmax(0, b.right - c->plot.right));
    area += 100 * (fmax(0, c->plot.top - b.top) + fmax(0, b.bottom - c->plot.bottom));
    return area;
}

void mq_chart_level_line(struct mq_chart *c, double y, const char *words)
{
    if (!(y >= c->y.min && y <= c->y.max))
        return;
    const double at = place_y(c, y);
    mq_buffer_printf(c->out, "<path class=\"level\" d=\"M%.1f %.1fH%.1f\"/>\n", c->plot.left, at,
                     c->plot.right);
    if (!words)
        return;
    /* at the right end or the left, below the line (what it names lies there) or above */
    const double width = text_width(words);
    struct mq_box best = {0};
    double least = INFINITY;
    for (int place = 0; place < 4; place++) {
        const double left = place & 1 ? c->plot.left + 4 : c->plot.right - 4 - width;
        const double top = place & 2 ? at - 17 : at;
        const struct mq_box box = {left, top, left + width, top + 17};
        const double area = conflict(c, box);
        if (area < least) {
            least = area;
            best = box;
        }
    }
    const bool right = best.left > c->plot.left + 4;
    put_text(c->out, "tick", right ? "end" : "start", right ? best.right : best.left, best.top + 13,
             words);
    take(c, best);
    take(c, (struct mq_box){c->plot.left, at - 1, c->plot.right, at + 1});
}

void mq_chart_bar(struct mq_chart *c, double x0, double x1, double y, const char *tip)
{
    if (!isfinite(y))
        return;
    const double left = place_x(c, x0), right = place_x(c, x1), top = place_y(c, y);
    mq_buffer_printf(c->out,
                     "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">",
                     left + 1, top, fmax(0, right - left - 2), c->plot.bottom - top);
    put_tip(c->out, tip);
    mq_buffer_puts(c->out, "</rect>\n");
}

void mq_chart_series(struct mq_chart *c, int style, bool joined)
{
    c->style = style;
    c->joined = joined;
    c->has_previous = false;
    c->points = 0;
}

void mq_chart_point(struct mq_chart *c, double x, double y, double se, const char *tip)
{
    if (!isfinite(x) || !isfinite(y)) {
        c->has_previous = false;
        return;
    }
    const double at_x = place_x(c, x), at_y = place_y(c, y);
    if (c->joined && c->has_previous) {
        if (c->style < 0)
            mq_buffer_puts(c->out, "<path class=\"join\"");
        else
            mq_buffer_printf(c->out, "<path class=\"line s%d\"", c->style % MQ_SERIES_STYLES);
        mq_buffer_printf(c->out, " d=\"M%.1f %.1fL%.1f %.1f\"/>\n", c->previous_x, c->previous_y,
                         at_x, at_y);
    }
    c->previous_x = at_x;
    c->previous_y = at_y;
    c->has_previous = true;
    if (c->style < 0 || (c->lines_only && (c->points++ + 3 * (size_t)c->style) % 10))
        return;
    if (c->lines_only) {
        put_mark(c->out, c->style, at_x, at_y, NULL);
        return;
    }
    if (isfinite(se) && se > 0) {
        const double low = place_y(c, y - se), high = place_y(c, y + se);
        if (low - high > 2)
            mq_buffer_printf(
                c->out,
                "<path class=\"line s%d\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\"/>\n",
                c->style % MQ_SERIES_STYLES, at_x, low, high, at_x - 4, low, at_x - 4, high);
    }
    put_mark(c->out, c->style, at_x, at_y, tip);
}

void mq_chart_reserve(struct mq_chart *c, double x, double y, double se)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    const double at_x = place_x(c, x), at_y = place_y(c, y);
    take(c, (struct mq_box){at_x - 6, at_y - 6, at_x + 6, at_y + 6});
    if (isfinite(se) && se > 0)
        take(c, (struct mq_box){at_x - 4, place_y(c, y + se), at_x + 4, place_y(c, y - se)});
}

/* Where a point's words may stand: offsets of the text's start, the last in widths of the text.
 * Above right comes first: a curve that falls to the right never passes there. */
static const struct {
    double x, y, shift;
} label_places[] = {{7, -8, 0},   {9, 4, 0},  {-9, 4, -1},    {-7, -8, -1},
                    {-7, 17, -1}, {7, 17, 0}, {0, -11, -0.5}, {0, 20, -0.5}};

void mq_chart_label(struct mq_chart *c, double x, double y, const char *words)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    const double at_x = place_x(c, x), at_y = place_y(c, y), width = text_width(words) + APART;
    struct mq_box best = {0};
    double least = INFINITY, away = 0;
    /* Beside the point; or, where others crowd it, further off on a leader. */
    for (int further = 0; further <= 5 && least > 0.1 * width; further++)
        for (size_t i = 0; i < sizeof label_places / sizeof *label_places; i++) {
            const double step = (label_places[i].y < 0 ? -LEADER : LEADER) * further;
            const double left = at_x + label_places[i].x + label_places[i].shift * width;
            const double base = at_y + label_places[i].y + step;
            const struct mq_box box = {left, base - 11, left + width, base + 3};
            const double area = conflict(c, box);
            if (area < least) {
                least = area;
                best = box;
                away = step;
            }
        }
    c->crowded = c->crowded || least > 0.1 * width || fabs(away) > LEADER;
    if (away != 0) {
        const double to_x = fmax(best.left, fmin(best.right, at_x));
        mq_buffer_printf(c->out, "<path class=\"join\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", at_x,
                         at_y + (away < 0 ? -6 : 6), to_x, away < 0 ? best.bottom : best.top);
    }
    put_text(c->out, "name", "start", best.left, best.bottom - 3, words);
    take(c, best);
}

/* ---- heat ---- */

/* One of nine colours: -4 ... 4. */
static int heat_step(double value, double limit)
{
    const double s = limit > 0 ? value / limit * 4.5 : 0;
    return (int)fmax(-4, fmin(4, round(s)));
}

/* Rows are numbered by the document, which may hold anything. */
static void row_name(const struct mq_heat *h, size_t row, char name[32])
{
    const double number = h->row_number(h->user, row);
    if (fabs(number) < 1e9)
        snprintf(name, 32, "%.0f", number);
    else
        snprintf(name, 32, "?");
}

static void heat_cell(const struct mq_heat *h, size_t row, size_t column, struct mq_box box)
{
    const double v = h->value(h->user, row, column);
    if (!isfinite(v))
        return;
    mq_buffer_printf(
        h->out, "<rect class=\"h%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\">",
        heat_step(v, h->limit), box.left, box.top, box.right - box.left, box.bottom - box.top);
    char words[96], name[32];
    row_name(h, row, name);
    snprintf(words, sizeof words, "layer %s, expert %zu: %+.3g", name, column, v);
    put_tip(h->out, words);
    mq_buffer_puts(h->out, "</rect>\n");
    if (h->columns > 10 || box.bottom - box.top < 14)
        return;
    if (fabs(v) < 0.005)
        snprintf(words, sizeof words, "0");
    else
        snprintf(words, sizeof words, "%+.2f", v);
    put_text(h->out, abs(heat_step(v, h->limit)) == 4 ? "cell deep" : "cell", "middle",
             (box.left + box.right) / 2, (box.top + box.bottom) / 2 + 4, words);
}

/* The nine colours and the values at their ends. */
static void heat_key(const struct mq_heat *h, double left, double top)
{
    const double width = 18;
    char words[32];
    snprintf(words, sizeof words, "%+.2g", -h->limit);
    put_text(h->out, "tick", "end", left - 6, top + 10, words);
    for (int s = -4; s <= 4; s++)
        mq_buffer_printf(
            h->out, "<rect class=\"h%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"12\"/>\n", s,
            left + (s + 4) * width, top, width);
    snprintf(words, sizeof words, "%+.2g", h->limit);
    put_text(h->out, "tick", "start", left + 9 * width + 6, top + 10, words);
    put_text(h->out, "label", "start", left + 9 * width + 52, top + 10, h->value_title);
}

/* What a cell shows: of several columns the value that is furthest from 0. */
static double grouped_value(const struct mq_heat *h, size_t row, size_t first)
{
    double v = NAN;
    for (size_t k = first; k < h->columns && k < first + h->group; k++) {
        const double x = h->value(h->user, row, k);
        if (isfinite(x) && !(fabs(x) <= fabs(v)))
            v = x;
    }
    return v;
}

/* One path for each colour, cells of a row that touch drawn as one; the middle colour is the ground. */
static void heat_groups(const struct mq_heat *h, struct mq_box area, double cell_h)
{
    const size_t columns = (h->columns + h->group - 1) / h->group;
    const double cell_w = (area.right - area.left) / (double)columns;
    struct mq_buffer paths[9] = {{0}};
    mq_buffer_printf(h->out,
                     "<rect class=\"h0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                     area.left, area.top, area.right - area.left, area.bottom - area.top);
    for (size_t r = 0; r < h->rows; r++)
        for (size_t k = 0, next; k < columns; k = next) {
            const double v = grouped_value(h, r, k * h->group);
            const int step = isfinite(v) ? heat_step(v, h->limit) : 0;
            for (next = k + 1; step && next < columns; next++) {
                const double w = grouped_value(h, r, next * h->group);
                if (!isfinite(w) || heat_step(w, h->limit) != step)
                    break;
            }
            if (step)
                mq_buffer_printf(&paths[step + 4], "M%.1f %.1fh%.1fv%.1fh-%.1fz",
                                 area.left + cell_w * (double)k, area.top + cell_h * (double)r,
                                 cell_w * (double)(next - k), cell_h, cell_w * (double)(next - k));
        }
    for (int i = 0; i < 9; i++) {
        if (paths[i].data)
            mq_buffer_printf(h->out, "<path class=\"h%d\" d=\"%s\"/>\n", i - 4, paths[i].data);
        h->out->failed = h->out->failed || paths[i].failed;
        mq_buffer_free(&paths[i]);
    }
}

void mq_heat_draw(const struct mq_heat *h)
{
    if (!h->rows || !h->columns)
        return;
    const double left = 52, top = 34, right = WIDTH - 8;
    const double cell_w = (right - left) / (double)h->columns;
    const double cell_h = h->rows <= 8 ? 24 : h->rows <= 24 ? 16 : h->rows <= 48 ? 11 : 6;
    const double gap = cell_w > 8 && cell_h > 8 ? 1 : 0;
    const double bottom = top + cell_h * (double)h->rows;
    open_svg(h->out, h->id, bottom + 46, h->title, h->description);
    heat_key(h, left + 44, 4);
    const size_t row_stride = 1 + (size_t)(13 / cell_h), column_stride = 1 + (size_t)(24 / cell_w);
    char words[32];
    for (size_t r = 0; r < h->rows; r++) {
        const double y = top + cell_h * (double)r;
        if (r % row_stride == 0) {
            row_name(h, r, words);
            put_text(h->out, "tick", "end", left - 6, y + cell_h / 2 + 4, words);
        }
        for (size_t k = 0; h->group <= 1 && k < h->columns; k++)
            heat_cell(h, r, k,
                      (struct mq_box){left + cell_w * (double)k, y,
                                      left + cell_w * (double)(k + 1) - gap, y + cell_h - gap});
    }
    if (h->group > 1)
        heat_groups(h, (struct mq_box){left, top, right, bottom}, cell_h);
    for (size_t k = 0; k < h->columns; k += column_stride) {
        snprintf(words, sizeof words, "%zu", k);
        put_text(h->out, "tick", "middle", left + cell_w * ((double)k + 0.5), bottom + 15, words);
    }
    put_text(h->out, "label", "middle", (left + right) / 2, bottom + 36, h->column_title);
    mq_buffer_printf(h->out,
                     "<text class=\"label\" text-anchor=\"middle\" "
                     "transform=\"translate(12 %.1f) rotate(-90)\">",
                     (top + bottom) / 2);
    mq_html_text(h->out, h->row_title);
    mq_buffer_puts(h->out, "</text>\n</svg>\n");
}
