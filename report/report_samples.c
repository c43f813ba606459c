/*
 * report_samples.c: continuations side by side. Of a model's text what the original says too is
 * muted, so that the eye goes to where they part.
 */
#include "report_samples.h"

#include "json.h"
#include "report_doc.h"
#include "report_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_PROMPTS = 64 }; /* of hostile documents; sweep takes as many */

static const cJSON *prompts_of(const cJSON *document)
{
    return mq_report_array(mq_json_get(document, "samples"), "prompts");
}

/* As tables call it. */
static const char *name_of(const struct mq_page *page, const cJSON *row)
{
    const char *name = mq_report_string(row, "name");
    for (size_t i = 0; i < page->arms_count; i++)
        if (!page->arms[i].is_baseline && strcmp(page->arms[i].id, name) == 0)
            return page->arms[i].name;
    return name;
}

static const char *prompt_of(const cJSON *sample)
{
    const char *chat = mq_report_string(sample, "chat");
    return *chat ? chat : mq_report_string(sample, "prompt");
}

/* Bytes that both begin with, whole characters. */
static size_t common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    while (n && ((unsigned char)a[n] & 0xc0) == 0x80)
        n--;
    return n;
}

struct parting {
    char where[32]; /* "13", "never" */
    char odds[64];  /* "0.41 : 0.22": of both tokens in the original */
};

static struct parting parting_of(const cJSON *row)
{
    struct parting p = {"never", ""};
    const cJSON *parting = mq_json_get(row, "parting");
    const double at = mq_report_number(parting, "token");
    const double base = mq_report_number(mq_json_get(parting, "base"), "probability_in_base");
    const double other = mq_report_number(mq_json_get(parting, "other"), "probability_in_base");
    if (isfinite(at))
        snprintf(p.where, sizeof p.where, "%.0f", at + 1);
    if (isfinite(base) && isfinite(other))
        snprintf(p.odds, sizeof p.odds, "%.3f : %.3f", base, other);
    return p;
}

/* A text's first `same` bytes muted. */
static void html_text(struct mq_buffer *out, const char *text, size_t same)
{
    struct mq_buffer start = {0};
    mq_buffer_append(&start, text, same);
    mq_buffer_putc(&start, '\0');
    mq_buffer_puts(out, "<td class=\"said\"><span>");
    if (start.data)
        mq_html_text(out, start.data);
    mq_buffer_puts(out, "</span>");
    mq_html_text(out, text + same);
    mq_buffer_puts(out, "</td>");
    out->failed = out->failed || start.failed;
    mq_buffer_free(&start);
}

static void html_row(struct mq_buffer *out, const char *name, const char *text, size_t same,
                     const struct parting *p)
{
    mq_buffer_puts(out, "<tr><th scope=\"row\">");
    mq_html_text(out, name);
    mq_buffer_puts(out, "</th>");
    html_text(out, text, same);
    mq_buffer_printf(out, "<td>%s</td><td>%s</td></tr>\n", p ? p->where : "", p ? p->odds : "");
}

static void html_sample(const struct mq_page *page, const cJSON *sample, struct mq_buffer *out)
{
    const char *base = mq_report_string(mq_json_get(sample, "baseline"), "text");
    const cJSON *rows = mq_report_array(sample, "rows");
    int left = MQ_REPORT_ARMS;
    mq_buffer_puts(
        out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"What is said\">\n"
             "<table>\n<caption><span><b>");
    mq_html_text(out, prompt_of(sample));
    mq_buffer_puts(
        out, "</b></span></caption>\n<thead><tr><th scope=\"col\">Model</th>"
             "<th scope=\"col\" class=\"text\">goes on</th><th scope=\"col\">parts at token</th>"
             "<th scope=\"col\">probabilities there<small>its own : the model's, in the "
             "original</small></th></tr></thead>\n<tbody>\n");
    html_row(out, "original", base, 0, NULL);
    for (const cJSON *row = rows ? rows->child : NULL; row && left--; row = row->next) {
        const struct parting p = parting_of(row);
        const char *text = mq_report_string(row, "text");
        html_row(out, name_of(page, row), text, common(base, text), &p);
    }
    mq_buffer_puts(out, "</tbody>\n</table>\n</div>\n");
}

void mq_report_samples_html(const struct mq_page *page, struct mq_buffer *out)
{
    const cJSON *prompts = prompts_of(page->document);
    int left = MOST_PROMPTS;
    if (!prompts)
        return;
    mq_buffer_puts(out,
                   "<section aria-labelledby=\"samples\">\n<h2 id=\"samples\">What they say</h2>\n"
                   "<p>The most likely token each time. What a model says as the original does is "
                   "muted; after the token where they part, each goes its own way, and a late or a "
                   "close parting says little against a model.</p>\n");
    for (const cJSON *sample = prompts->child; sample && left--; sample = sample->next)
        html_sample(page, sample, out);
    mq_buffer_puts(out, "</section>\n");
}

/* ---- Markdown ---- */

void mq_report_samples_markdown(const struct mq_page *page,
                                void (*text)(struct mq_buffer *out, const char *text),
                                struct mq_buffer *out)
{
    const cJSON *prompts = prompts_of(page->document);
    int left = MOST_PROMPTS;
    for (const cJSON *s = prompts ? prompts->child : NULL; s && left--; s = s->next) {
        const cJSON *rows = mq_report_array(s, "rows");
        int arms = MQ_REPORT_ARMS;
        mq_buffer_puts(out, "\n| ");
        text(out, prompt_of(s));
        mq_buffer_puts(out, " … | goes on | parts at token |\n|:--|:--|--:|\n| original | ");
        text(out, mq_report_string(mq_json_get(s, "baseline"), "text"));
        mq_buffer_puts(out, " | |\n");
        for (const cJSON *row = rows ? rows->child : NULL; row && arms--; row = row->next) {
            mq_buffer_puts(out, "| ");
            text(out, name_of(page, row));
            mq_buffer_puts(out, " | ");
            text(out, mq_report_string(row, "text"));
            mq_buffer_printf(out, " | %s |\n", parting_of(row).where);
        }
    }
}
