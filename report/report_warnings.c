/* report_warnings.c: a broken original, too few tokens, classes that the tokens leave open. */
#include "report_warnings.h"

#include "json.h"

#include <math.h>

static bool doubt(const struct mq_page *r, struct mq_buffer *words)
{
    const cJSON *doc = r->document, *protocol = mq_json_get(doc, "protocol");
    if (!r->baseline)
        return false;
    const struct mq_baseline_figures figures = {
        .perplexity = mq_report_figure(r->baseline->json, &mq_figures[MQ_FIGURE_PPL]).value,
        .nll_nats = mq_report_figure(r->baseline->json, &mq_figures[MQ_FIGURE_NLL]).value,
        .vocabulary = mq_report_number(mq_json_get(doc, "model"), "vocabulary"),
        .text_tokens = mq_report_number(protocol, "text_tokens"),
        .text_bytes = mq_report_number(protocol, "text_bytes"),
        .byte_entropy_bits = mq_report_number(protocol, "text_byte_entropy_bits"),
    };
    return mq_baseline_doubt(&figures, words);
}

static bool too_few(const struct mq_page *r, struct mq_buffer *words)
{
    const double tokens = mq_report_number(mq_json_get(r->document, "protocol"), "scored_tokens");
    if (!(tokens < MQ_VERDICT_TOKENS))
        return false;
    mq_buffer_printf(
        words,
        "Only %s stand%s behind these figures: too few for a verdict. Take a text that gives at "
        "least %s; 20,000 separate neighbouring levels.",
        mq_words_counted(tokens, "token").s, tokens == 1 ? "s" : "",
        mq_words_count(MQ_VERDICT_TOKENS).s);
    return true;
}

/* "q4_k (excellent to fair), q3_k (...)": names of the classes that two standard errors reach. */
static bool open_classes(const struct mq_page *r, struct mq_buffer *words)
{
    size_t n = 0;
    for (size_t i = 0; i < r->arms_count; i++) {
        const struct mq_report_arm *a = &r->arms[i];
        if (a->is_baseline || !mq_verdict_is_open(&a->verdict))
            continue;
        mq_buffer_puts(words, n++ ? ", " : "Too few tokens to tell the class of ");
        mq_buffer_printf(words, "%s (%s to %s)", a->name, mq_quality_bands[a->verdict.best].name,
                         mq_quality_bands[a->verdict.worst].name);
    }
    if (n)
        mq_buffer_puts(words, ": within two standard errors it may be any of these.");
    return n > 0;
}

void mq_report_warnings(const struct mq_page *r, struct mq_buffer *out,
                        void (*put)(struct mq_buffer *out, const char *sentence))
{
    static bool (*const kinds[])(const struct mq_page *, struct mq_buffer *) = {doubt, too_few, open_classes};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct mq_buffer words = {0};
        if (kinds[i](r, &words) && words.data && mq_buffer_ok(&words))
            put(out, words.data);
        out->failed = out->failed || words.failed;
        mq_buffer_free(&words);
    }
}
