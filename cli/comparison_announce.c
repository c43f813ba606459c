/* comparison_announce.c: tokens, models and memory in one sentence. */
#include "comparison_announce.h"

#include "progress.h"

#include <stdio.h>

moeq_status mq_announce_comparison(void *user, const struct mq_comparison *c, moeq_error *err)
{
    const struct mq_job_ui *ui = user;
    char text[320], size[32], memory[32];
    (void)err;
    snprintf(text, sizeof text,
             "%zu tokens in %zu windows, %s (%s) and %zu beside it, layer by layer, on %u threads; "
             "memory at most "
             "%s%s. Time left shows after the first layers.",
             c->text.windows.count * c->text.windows.length, c->text.windows.count,
             c->baseline->recording ? "a recording" : "the original",
             mq_format_bytes(c->rows[0].file_bytes, size), c->rows_count - 1, ui->context.threads,
             ui->context.memory_bytes ? mq_format_bytes(ui->context.memory_bytes, memory)
                                      : "half of the machine's",
             ui->context.memory_bytes ? "" : " (--memory)");
    mq_progress_announce(ui->progress, text);
    return MOEQ_OK;
}
