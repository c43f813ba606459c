/* verdict_print.c: classes as on pages (verify/verdict.h). */
#include "verdict_print.h"

#include "sweep_tables.h"
#include "table_choice.h"

#include "verdict.h"

#include <math.h>
#include <stdio.h>

static enum mq_color color_of(enum mq_quality quality)
{
    return quality >= MQ_QUALITY_POOR   ? MQ_COLOR_BAD
           : quality >= MQ_QUALITY_FAIR ? MQ_COLOR_FAIR
                                        : MQ_COLOR_GOOD;
}

static void print_warning(const char *sentence, bool color)
{
    printf("  %swarning:%s ", mq_color(color, MQ_COLOR_FAIR), mq_color(color, MQ_COLOR_NONE));
    mq_print_wrapped(sentence, 11, 11);
}

static void print_doubts(const struct mq_comparison *c, bool color)
{
    struct mq_buffer text = {0};
    const struct mq_baseline_figures figures = {
        .perplexity = c->rows[0].result.perplexity.ppl.value,
        .nll_nats = c->rows[0].result.perplexity.nll.value,
        .vocabulary = c->baseline->view->hparams.vocab,
        .text_tokens = (double)c->text.text_tokens,
        .text_bytes = c->source ? (double)c->source->size : NAN,
        .byte_entropy_bits = c->source ? mq_byte_entropy(c->source->data, c->source->size) : NAN,
    };
    if (mq_baseline_doubt(&figures, &text))
        print_warning(mq_printable(&text), color);
    mq_buffer_free(&text);
    if (mq_scored_tokens(&c->text) < MQ_VERDICT_TOKENS)
        print_warning("few tokens: below a thousand scored predictions a class is a guess", color);
}

void mq_print_verdicts(const struct mq_comparison *c, bool color)
{
    const int width = mq_row_name_width(c);
    printf("\nClass\n");
    for (size_t i = 1; i < c->rows_count; i++) {
        char name[MQ_ROW_NAME];
        const struct mq_verdict v = mq_verdict_of_result(&c->rows[i].result);
        if (c->rows[i].kind == MQ_ROW_NOISE_FLOOR)
            continue;
        mq_row_name(c, i, name);
        struct mq_buffer words = {0};
        mq_buffer_printf(&words, "%s%s%s", mq_color(color, color_of(v.quality)),
                         mq_quality_bands[v.quality].name, mq_color(color, MQ_COLOR_NONE));
        if (v.quality > mq_quality_of(c->rows[i].result.kld.mean.value))
            mq_buffer_printf(&words, ", by its %s", v.because);
        if (mq_verdict_is_open(&v))
            mq_buffer_printf(&words, " (within two errors %s to %s: more text would tell)",
                             mq_quality_bands[v.best].name, mq_quality_bands[v.worst].name);
        printf("  %-*.*s ", width, width, name);
        mq_print_wrapped(mq_printable(&words), width + 3, width + 3);
        mq_buffer_free(&words);
    }
    print_doubts(c, color);
}
