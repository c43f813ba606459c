/*
 * report_figures.c: charts as files of their own.
 *
 * The page's drawings are taken as they are, from "<svg" to "</svg>"; what they have from the page is put into each:
 * the namespace, a size, and those lines of its style sheet that are about colours and drawings.
 */
#include "report_figures.h"

#include "error.h"
#include "report_charts.h"
#include "report_style.h"

#include <stdio.h>
#include <string.h>

static bool (*const charts[])(const struct mq_page *, struct mq_buffer *) = {
    mq_draw_kld,     mq_draw_perplexity,     mq_draw_layers,
    mq_draw_margins, mq_draw_changed_layers, mq_draw_loads,
};

static void put_style(struct mq_buffer *out)
{
    static const char *const wanted[] = {":root{", "@media screen and (prefers-color-scheme:dark)",
                                         "svg", ".s0{", ".h-4{"};
    mq_buffer_puts(out, "<style>\n");
    for (const char *line = mq_report_style; *line;) {
        const size_t n = strcspn(line, "\n");
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (strncmp(line, wanted[i], strlen(wanted[i])) == 0) {
                mq_buffer_append(out, line, n);
                mq_buffer_putc(out, '\n');
            }
        line += n + (line[n] == '\n');
    }
    mq_buffer_puts(out, "svg{font-family:system-ui,sans-serif;background:var(--bg)}\n</style>\n");
}

/* One drawing, from its "<svg" to before `end`. */
static void put_alone(const char *svg, const char *end, struct mq_buffer *out)
{
    const char *tag_end = memchr(svg, '>', (size_t)(end - svg));
    double width = 0, height = 0;
    if (!tag_end || sscanf(svg, "<svg viewBox=\"0 0 %lf %lf\"", &width, &height) != 2)
        return;
    mq_buffer_printf(out,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg "
                     "xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\"",
                     2 * width, 2 * height);
    mq_buffer_append(out, svg + 4, (size_t)(tag_end + 1 - svg - 4));
    mq_buffer_putc(out, '\n');
    put_style(out);
    mq_buffer_append(out, tag_end + 1, (size_t)(end - tag_end - 1));
    mq_buffer_putc(out, '\n');
}

/* The next drawing of a page's part; NULL behind the last. */
static const char *next_svg(const char *html, const char **end)
{
    static const char close[] = "</svg>";
    const char *svg = html ? strstr(html, "<svg ") : NULL;
    const char *at = svg ? strstr(svg, close) : NULL;
    *end = at ? at + sizeof close - 1 : NULL;
    return at ? svg : NULL;
}

bool mq_report_frontier_svg(const struct mq_page *report, struct mq_buffer *out)
{
    struct mq_buffer html = {0};
    const char *end, *svg = NULL;
    if (mq_draw_kld(report, &html) && mq_buffer_ok(&html))
        svg = next_svg(html.data, &end);
    if (svg)
        put_alone(svg, end, out);
    out->failed = out->failed || html.failed;
    mq_buffer_free(&html);
    return svg != NULL;
}

/* By its id: aria-labelledby="load-1-t load-1-d". */
static void name_of(const char *svg, char name[32])
{
    static const char key[] = "aria-labelledby=\"";
    const char *at = strstr(svg, key);
    snprintf(name, 32, "%.*s", at ? (int)strcspn(at + sizeof key - 1, "\" ") : 0,
             at ? at + sizeof key - 1 : "");
    const size_t n = strlen(name);
    name[n >= 2 ? n - 2 : n] = '\0'; /* without "-t" */
}

moeq_status mq_report_figures(const struct mq_page *report,
                              moeq_status (*write)(void *user, const char *name,
                                                   const struct mq_buffer *svg, moeq_error *err),
                              void *user, moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < sizeof charts / sizeof *charts && status == MOEQ_OK; i++) {
        struct mq_buffer html = {0};
        charts[i](report, &html);
        const char *end = html.data, *svg;
        while (status == MOEQ_OK && (svg = next_svg(end, &end))) {
            struct mq_buffer alone = {0};
            char name[32];
            name_of(svg, name);
            put_alone(svg, end, &alone);
            status = mq_buffer_ok(&alone) && mq_buffer_ok(&html) ? write(user, name, &alone, err)
                                                                 : mq_fail_memory(err, "a chart");
            mq_buffer_free(&alone);
        }
        mq_buffer_free(&html);
    }
    return status;
}
