/* report_judgement.c: headline, icons, warnings, classes. Meaning never hangs on colour: words and shapes say it. */
#include "report_judgement.h"

#include "report_svg.h"
#include "report_verify.h"
#include "report_warnings.h"
#include "report_words.h"

#include <math.h>

/* Drawn in the text's colour, as high as its letters; hidden from readers, to whom the words say the same. */
#define ICON(shape)                                                                        \
    "<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\" focusable=\"false\">" \
    "<path d=\"" shape "\"/></svg>"
static const char cross[] = ICON("M7 1h10l6 6v10l-6 6H7l-6-6V7zM7.6 7.6l8.8 8.8M16.4 7.6l-8.8 8.8");
static const char tick[] = ICON("M12 1a11 11 0 1 0 0 22a11 11 0 1 0 0-22zM6.5 12.5l3.8 3.8l7.2-8");
static const char sign[] = ICON("M12 2L1.5 21.5h21zM12 9v6M12 17.6v1.2");

static void put_warning(struct mq_buffer *out, const char *sentence)
{
    mq_buffer_puts(out, "<p class=\"warning\">");
    mq_buffer_puts(out, sign);
    mq_html_text(out, sentence);
    mq_buffer_puts(out, "</p>\n");
}

void mq_html_cross(struct mq_buffer *out)
{
    mq_buffer_puts(out, cross);
}

void mq_html_headline(const struct mq_page *r, struct mq_buffer *out)
{
    struct mq_buffer words = {0};
    const bool judged = mq_report_limits(r) != NULL, broken = judged && mq_report_broken(r);
    mq_report_headline(r, &words);
    mq_buffer_printf(out, "<p class=\"headline%s\">", broken ? " broken" : judged ? " kept" : "");
    if (judged)
        mq_buffer_puts(out, broken ? cross : tick);
    mq_escape_buffer(out, &words, mq_html_char);
    mq_buffer_puts(out, "</p>\n");
    mq_report_warnings(r, out, put_warning);
}

void mq_html_classes(struct mq_buffer *out)
{
    mq_buffer_puts(out, "<details>\n<summary>What the classes mean</summary>\n<p class=\"note\">A class asks for all "
                        "three: a mean KL divergence below, a same top token and an overlap of the experts' weights "
                        "(of models with experts) not below these bounds. Published figures of the same class are "
                        "of other models on other text; the same bits are of other classes on other models.</p>\n"
                        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Classes\">\n<table>\n<caption>"
                        "<span><b>Classes.</b> Names for what was measured, no measure.</span></caption>\n"
                        "<thead><tr><th scope=\"col\">Class</th><th scope=\"col\">KLD mean</th><th scope=\"col\">Same "
                        "top token</th><th scope=\"col\">Weight overlap</th><th scope=\"col\" class=\"text\">Published "
                        "figures within</th></tr></thead>\n<tbody>\n");
    for (int q = MQ_QUALITY_NEAR_LOSSLESS; q < MQ_QUALITY_COUNT; q++) {
        const struct mq_quality_band *b = &mq_quality_bands[q];
        mq_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", b->name);
        if (isfinite(b->below))
            mq_buffer_printf(out, "<td>&lt; %g</td><td>≥ %g\u00a0%%</td><td>≥ %g\u00a0%%</td>", b->below,
                             100 * b->same_top_from, 100 * b->routing_from);
        else
            mq_buffer_puts(out, "<td>above</td><td>below</td><td>below</td>");
        mq_buffer_printf(out, "<td class=\"text\">%s</td></tr>\n", b->measured_like);
    }
    mq_buffer_puts(out, "</tbody>\n</table>\n</div>\n</details>\n");
}
