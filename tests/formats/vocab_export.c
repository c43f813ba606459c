/* vocab_export.c: the export of a vocabulary, run and read again. */
#include "vocab_export.h"

#include "file.h"
#include "gguf_lines.h"
#include "gguf_vocab_export.h"

#include <stdlib.h>
#include <string.h>

static struct mq_buffer borrow(const char *text)
{
    return (struct mq_buffer){.data = (char *)(uintptr_t)text, .size = text ? strlen(text) : 0};
}

struct vocab_outcome vocab_export(const struct vocab_side *side)
{
    struct mq_view view = {.path = "m"};
    view.side[MQ_SIDE_TOKENIZER] = borrow(side->tokenizer);
    view.side[MQ_SIDE_TOKENIZER_CONFIG] = borrow(side->tokenizer_config);
    view.side[MQ_SIDE_CONFIG] = borrow(side->config);
    view.side[MQ_SIDE_GENERATION_CONFIG] = borrow(side->generation_config);
    view.side[MQ_SIDE_CHAT_TEMPLATE] = borrow(side->chat_template);
    view.side[MQ_SIDE_CHAT_TEMPLATES] = borrow(side->chat_templates);
    view.hparams.vocab = side->vocab;
    view.hparams.bos = view.hparams.eos = -1;
    struct mq_gguf_writer w = {.architecture = "llama"};
    struct mq_arena *arena = mq_arena_create();
    struct vocab_outcome o = {0};
    const char *warning;
    o.status = mq_gguf_put_vocab(&w, &view, arena, &warning, &o.err);
    ck_assert_int_eq(o.status, o.err.status);
    if (o.status == MOEQ_OK) {
        o.lines = gguf_lines(&w);
        o.warning = warning ? strdup(warning) : NULL;
    }
    mq_gguf_writer_free(&w);
    mq_arena_destroy(arena);
    return o;
}

void vocab_release(struct vocab_outcome *o)
{
    free(o->lines);
    free(o->warning);
}

char *vocab_slurp(const char *path)
{
    struct mq_buffer text = {0};
    moeq_error err = {0};
    ck_assert_msg(mq_file_read_all(path, 64u << 20, &text, &err) == MOEQ_OK, "%s", err.message);
    mq_buffer_putc(&text, 0);
    ck_assert(mq_buffer_ok(&text));
    return text.data;
}

void vocab_expect_line(const struct vocab_outcome *o, const char *line)
{
    ck_assert_msg(o->status == MOEQ_OK, "%s", o->err.message);
    const size_t n = strlen(line);
    for (const char *at = o->lines; (at = strstr(at, line)); at++)
        if ((at == o->lines || at[-1] == '\n') && (at[n] == '\n' || at[n] == ' '))
            return;
    ck_abort_msg("no line '%s' in:\n%.3000s", line, o->lines);
}

void vocab_expect_no_key(const struct vocab_outcome *o, const char *key)
{
    ck_assert_msg(o->status == MOEQ_OK, "%s", o->err.message);
    ck_assert_msg(!strstr(o->lines, key), "'%s' is there", key);
}
