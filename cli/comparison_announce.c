/* comparison_announce.c: tokens, models, passes, memory and a rough time in one sentence. */
#include "comparison_announce.h"

#include "progress.h"

#include <stdio.h>

/* 10^9 operations a second of a thread, on whole models, the encoding of levels on the fly included: about half of what
 * docs/performance.md has of products alone. Right within a factor of two or three. */
static const double RATES[MQ_ISA_COUNT] = {
    [MQ_ISA_GENERIC] = 2, [MQ_ISA_NEON] = 25, [MQ_ISA_AVX2] = 40, [MQ_ISA_AVX512] = 50};
static const double DISK_BYTES_PER_SECOND = 1e9;

/* Multiply-adds of a token: of experts those that it goes through. */
static double active_weights(const struct mq_view *view)
{
    double rest = 0, experts = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        *(t->expert >= 0 ? &experts : &rest) += (double)t->rows * (double)t->cols;
    }
    const struct mq_hparams *h = &view->hparams;
    return rest + (h->experts ? experts * h->top_k / h->experts : 0);
}

static double seconds_of(const struct mq_comparison *c, const struct mq_context *context)
{
    const double tokens = (double)c->text.windows.count * (double)c->text.windows.length;
    const double operations =
        2 * tokens * active_weights(c->baseline->view) * (double)c->arms_count;
    double bytes = 0;
    for (size_t i = 0; i < c->rows_count; i++)
        if (i == 0 || c->rows[i].file)
            bytes += (double)c->rows[i].file_bytes;
    return operations / (1e9 * RATES[context->isa] * context->threads) +
           bytes * (double)c->passes / DISK_BYTES_PER_SECOND;
}

/* "120 MiB of at most half of the machine's (--memory)" */
static void memory_text(const struct mq_comparison *c, const struct mq_context *context,
                        char text[128])
{
    char memory[32], most[32];
    mq_format_bytes(c->pass_bytes, memory);
    if (!context->memory_bytes)
        snprintf(text, 128, "%s of at most %s (--memory)", memory,
                 context->sharing > 1 ? "a rank's share of half of the machine's" : "half of the machine's");
    else if (c->pass_bytes <= context->memory_bytes)
        snprintf(text, 128, "%s of at most %s", memory,
                 mq_format_bytes(context->memory_bytes, most));
    else
        snprintf(text, 128, "%s, the least for one window", memory);
}

moeq_status mq_announce_comparison(void *user, const struct mq_comparison *c, moeq_error *err)
{
    const struct mq_job_ui *ui = user;
    char text[480], size[32], memory[128], time[32], windows[64], threads[64];
    (void)err;
    memory_text(c, &ui->context, memory);
    snprintf(text, sizeof text,
             "%zu tokens in %s, %s (%s) and %zu beside it, layer by layer in %zu pass%s on %s; "
             "memory: %s; roughly %s, to be corrected as it goes",
             c->text.windows.count * c->text.windows.length,
             mq_counted(c->text.windows.count, "window", windows),
             c->baseline->recording ? "a recording" : "the original",
             mq_format_bytes(c->rows[0].file_bytes, size), c->rows_count - 1, c->passes,
             c->passes == 1 ? "" : "es", mq_counted(ui->context.threads, "thread", threads), memory,
             mq_format_seconds(seconds_of(c, &ui->context), time));
    mq_progress_announce(ui->progress, text);
    return MOEQ_OK;
}
