/*
 * report_svg.h: charts as inline SVG: axes with nice ticks, points with error bars, bands, heat
 * maps.
 *
 * Colours and fonts come from the page's style sheet by class (s0 ... s7 for the series, h-4 ... h4
 * for heat), so that one drawing serves the light theme, the dark one and print. Each of 64 series has a
 * pair of colour and shape of its own. All text that is given here is escaped here.
 */
#ifndef MQ_REPORT_SVG_H
#define MQ_REPORT_SVG_H

#include "escape.h"

#include <stdbool.h>
#include <stddef.h>

/* Appends text for HTML or XML, also inside quoted attributes: & < > " ' become entities, control
 * characters and bytes that are no UTF-8 become U+FFFD. */
void mq_html_text(struct mq_buffer *out, const char *text);
/* One character, for mq_escape. */
void mq_html_char(struct mq_buffer *out, const char *text, size_t i);

enum { MQ_TICKS = 24, MQ_LEGEND = 64, MQ_CHART_BOXES = 160, MQ_SERIES_STYLES = 8 };

struct mq_tick {
    double at;
    char label[24];
};

struct mq_axis {
    const char *title; /* with the unit: "size of the file (GiB)" */
    bool logarithmic;
    bool percent; /* values are fractions, labels percentages */
    double min, max;
    struct mq_tick ticks[MQ_TICKS];
    size_t ticks_count;
};

/* Sets bounds that hold [low, high] and begin and end at ticks 1, 2 or 5 times a power of ten. A
 * logarithmic axis needs low > 0. Values that are not finite give the axis 0 to 1 (1 to 10). */
void mq_axis_fit(struct mq_axis *axis, double low, double high);
/* Whole numbers, such as layers: half a unit of room at both ends. */
void mq_axis_fit_integers(struct mq_axis *axis, double first, double last);
/* Ticks of one's own. More than MQ_TICKS are dropped. */
void mq_axis_add_tick(struct mq_axis *axis, double at, const char *label);

struct mq_box {
    double left, top, right, bottom;
};

struct mq_chart {
    /* filled in by the caller */
    struct mq_buffer *out;
    const char *id; /* unique in the page */
    const char *title, *description;
    struct mq_axis x, y;
    struct { /* a line above the plot; names must live until mq_chart_begin returns */
        const char *name;
        int style; /* of the series; -1: a bar */
    } legend[MQ_LEGEND];
    size_t legend_count;
    /* Names to the right of the plot, each where its line ends (mq_chart_name): room for so many, as
     * wide as the widest; 0: none. */
    size_t names_room;
    double names_width;
    /* its own */
    struct mq_box plot;
    double height;
    struct mq_box taken[MQ_CHART_BOXES]; /* where labels must not go */
    size_t taken_count;
    bool crowded; /* a label (mq_chart_label) stands far from its point, or on something else */
    int style;
    bool lines_only; /* by the caller: of many points, a mark at some */
    size_t points;   /* of the series so far */
    struct mq_chart_name {
        const char *name;
        int style;
        double y; /* where its line ends, then where its name stands */
    } names[MQ_LEGEND];
    size_t names_count;
    bool joined, has_previous;
    double previous_x, previous_y;
};

/* Before mq_chart_begin: room for one more name. */
void mq_chart_expect_name(struct mq_chart *chart, const char *name);
void mq_chart_begin(struct mq_chart *chart);
void mq_chart_end(struct mq_chart *chart);

/* A horizontal line across the plot at y, with words at one of its ends (may be NULL). */
void mq_chart_level_line(struct mq_chart *chart, double y, const char *words);
/* A bar from x0 to x1 standing on the x axis. */
void mq_chart_bar(struct mq_chart *chart, double x0, double x1, double y, const char *tip);

/* Points of one series; `joined` draws a line through them; style -1: a thin line without marks. A
 * point whose x or y is not finite breaks the line. se: one standard error in y, or NaN. `tip`
 * shows when a mouse rests on it. */
void mq_chart_series(struct mq_chart *chart, int style, bool joined);
void mq_chart_point(struct mq_chart *chart, double x, double y, double se, const char *tip);
/* The name of the series, beside its point at y, the last one to the right; must live until mq_chart_end. */
void mq_chart_name(struct mq_chart *chart, double y, const char *name);
/* Keeps words away from a point, and its error bar, that are still to be drawn. */
void mq_chart_reserve(struct mq_chart *chart, double x, double y, double se);
/* Words beside a point, where there is room. */
void mq_chart_label(struct mq_chart *chart, double x, double y, const char *words);

/* A table of coloured cells. Values from -limit to limit get one of nine colours; numbers are
 * printed in the cells where they have room. With `group` above 1 a cell stands for so many columns, and shows
 * the largest value, up or down, among them; such tables have no tips, which would be most of a page's bytes. */
struct mq_heat {
    struct mq_buffer *out;
    const char *id, *title, *description;
    const char *column_title, *row_title, *value_title;
    size_t rows, columns;
    size_t group; /* 0: 1 */
    double limit;
    double (*value)(const void *user, size_t row, size_t column); /* NaN: no such cell */
    double (*row_number)(const void *user, size_t row);
    const void *user;
};
void mq_heat_draw(const struct mq_heat *heat);

#endif
